"""The executor's inside, in layers: each folder imports only those that stand below it here.

process, worker_host    the process, and the worker's side of it
executor                makes the parts and runs them; nobody imports it but the process
rounds, monitors/       what is next is decided and written; what looks every second
entries/, exits/        into a position at its second, out of it in time
books/                  what brokers say became of orders
orders/                 one order on its way
memory/                 what is held
database/               every statement
wire/                   sockets, channels, order streams
runtime/                threads, the quiet window, the kill switch, the log
"""
