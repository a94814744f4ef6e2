"""Brokers' reports on orders: order books, order updates, and how late both are."""
