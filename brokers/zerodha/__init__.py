"""Zerodha Kite Connect v3 (https://kite.trade/docs/connect/v3/)."""
