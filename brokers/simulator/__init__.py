"""A stand-in for the brokers: one process that speaks their wire formats on loopback ports.

It keeps its own order book, positions and funds, matches against a synthetic market, enforces the
exchange's rules, and has a control port (faults, market moves, the book as the oracle). It shares
no code with the adapters it examines. docs/brokers/simulator.md describes it.
"""
