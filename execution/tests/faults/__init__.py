"""The hostile stand-in: a broker that does everything wrong, and a judge that reads its own book.

``python -m execution.tests.faults`` plays every scenario (``make faults``); docs/faults.md has them
all. Nothing here is imported by the product.
"""
