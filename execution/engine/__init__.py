"""The executor's code in layers: each folder imports only those listed below it here.

process, worker_host    the process, and the worker's side of it
executor                makes the parts and runs them; only the process imports it
rounds, monitors/       deciding and writing the next steps; periodic checks
entries/, exits/        entering a position at its second, and exiting it in time
books/                  brokers' reports on orders
orders/                 sending one order
memory/                 the state held in memory
database/               every SQL statement
wire/                   sockets, channels, order streams
runtime/                threads, the quiet window, the kill switch, the log
"""
