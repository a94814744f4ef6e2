"""Leaving: how much may be closed and at what price; price changes of what rests."""
