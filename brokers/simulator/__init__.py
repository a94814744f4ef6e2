"""A broker simulator: one process that speaks the brokers' wire formats on loopback ports.

It keeps its own order book, positions and funds, matches against a synthetic market, enforces the
exchange's rules, and has a control port (faults, market moves, the book for checks). It shares no
code with the adapters that it tests. docs/brokers/simulator.md describes it.
"""
