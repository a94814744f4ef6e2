"""Zerodha Kite Connect v3 (reference/brokers.md section 2)."""
