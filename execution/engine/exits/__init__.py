"""Exits: how much may be closed, at what price, and price changes of resting exits."""
