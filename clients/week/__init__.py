"""``make week``: five trading days with one executor, played and checked from outside.

Imports nothing of the project except the demo beside it.
"""
