"""The faults' line does to connections what a network does, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from execution.tests.faults.line import Line, Mode

ORDER = b"POST /orders/regular HTTP/1.1\r\nAuthorization: token key:secret\r\n\r\nquantity=65"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n" + 40 * b"x"


class Upstream:
    """What reached the broker, and when something did."""

    def __init__(self) -> None:
        self.heard = b""
        self.something = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.heard += data
                self.something.set()
                writer.write(ANSWER)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def line() -> AsyncIterator[tuple[Line, Upstream]]:
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    fault_line = Line(server.sockets[0].getsockname()[1])
    await fault_line.start()
    try:
        yield fault_line, upstream
    finally:
        await fault_line.stop()
        server.close()


async def connected(fault_line: Line) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", fault_line.port))
    except BaseException:
        client.close()
        raise
    return client


async def received(client: socket.socket) -> bytes:
    """What comes within five seconds; ``b""`` at an orderly end."""
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 65536), 5)


async def send_order(client: socket.socket) -> None:
    await asyncio.get_running_loop().sock_sendall(client, ORDER)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def run(test: Callable[[Line, Upstream], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), line() as (fault_line, upstream):
            await test(fault_line, upstream)

    asyncio.run(main())


def test_a_clear_line_passes_everything() -> None:
    """The line also records which address used which token."""

    async def test(fault_line: Line, upstream: Upstream) -> None:
        client = await connected(fault_line)
        await send_order(client)
        assert await received(client) == ANSWER
        assert upstream.heard == ORDER
        assert fault_line.peers == {"secret": {"127.0.0.1"}}
        client.close()

    run(test)


def test_pieces_arrive_one_by_one_and_whole() -> None:
    async def test(fault_line: Line, upstream: Upstream) -> None:
        fault_line.set(Mode.DRIP, size=10, pause=0.02)
        client = await connected(fault_line)
        await send_order(client)
        parts: list[bytes] = []
        while sum(map(len, parts)) < len(ANSWER):
            parts.append(await received(client))
        assert b"".join(parts) == ANSWER
        assert len(parts) > 1
        client.close()

    run(test)


@pytest.mark.parametrize("ends", [reset, socket.socket.close], ids=["reset", "closed"])
def test_a_closed_link_still_delivers_and_a_reset_one_does_not(
    ends: Callable[[socket.socket], None],
) -> None:
    """As in a kernel, what was written while the line was away is sent on after a close, and lost
    after a reset."""

    async def test(fault_line: Line, upstream: Upstream) -> None:
        client = await connected(fault_line)
        await send_order(client)
        assert await received(client) == ANSWER
        upstream.heard = b""
        upstream.something.clear()
        fault_line.set(Mode.AWAY)
        await send_order(client)
        ends(client)
        other = asyncio.create_task(connected(fault_line))
        await other  # the kernel takes it; the line does not, yet
        fault_line.set(Mode.CLEAR)
        if ends is reset:
            await send_order(other.result())  # behind it: what should arrive has arrived by then
            assert await received(other.result()) == ANSWER
            assert upstream.heard == ORDER, "one order, of the second connection"
        else:
            await upstream.something.wait()
            assert upstream.heard == ORDER
        other.result().close()

    run(test)


def test_a_link_that_fell_silent_stays_so_and_new_ones_work() -> None:
    async def test(fault_line: Line, upstream: Upstream) -> None:
        old = await connected(fault_line)
        await send_order(old)
        await received(old)
        fault_line.set(Mode.SILENT)
        await send_order(old)
        new = await connected(fault_line)
        await send_order(new)
        assert await received(new) == ANSWER
        assert upstream.heard == 2 * ORDER, "what the silent one said is not among it"
        for client in (old, new):
            client.close()

    run(test)


def test_an_accepted_order_is_reset_and_reads_are_not() -> None:
    async def test(fault_line: Line, upstream: Upstream) -> None:
        fault_line.set(Mode.RESET, count=1)
        client = await connected(fault_line)
        await asyncio.get_running_loop().sock_sendall(client, b"GET /orders HTTP/1.1\r\n\r\n")
        assert await received(client) == ANSWER
        await send_order(client)
        with pytest.raises(ConnectionResetError):
            await received(client)
        assert upstream.heard.endswith(ORDER)
        client.close()

    run(test)


def test_half_of_an_order_arrives() -> None:
    async def test(fault_line: Line, upstream: Upstream) -> None:
        fault_line.set(Mode.HALF, count=1)
        client = await connected(fault_line)
        await send_order(client)
        with pytest.raises(ConnectionResetError):
            await received(client)
        await upstream.something.wait()
        assert upstream.heard == ORDER[: len(ORDER) // 2]
        client.close()

    run(test)


def test_nobody_listens_and_then_somebody_does() -> None:
    async def test(fault_line: Line, upstream: Upstream) -> None:
        fault_line.set(Mode.REFUSE)
        with pytest.raises(ConnectionRefusedError):
            await connected(fault_line)
        fault_line.set(Mode.CLEAR)
        client = await connected(fault_line)
        await send_order(client)
        assert await received(client) == ANSWER
        client.close()

    run(test)


def test_no_syn_is_answered() -> None:
    async def test(fault_line: Line, upstream: Upstream) -> None:
        fault_line.set(Mode.SWALLOW)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connected(fault_line), 0.5)

    run(test)
