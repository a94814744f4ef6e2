"""What brokers say became of orders: their books, their updates, how late both are."""
