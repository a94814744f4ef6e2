"""``make week``: five trading days with one executor, played and judged from outside.

Imports nothing of the project but its neighbour, the demo.
"""
