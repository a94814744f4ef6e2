"""The network layer: sockets, connections, channels of accounts, order streams."""
