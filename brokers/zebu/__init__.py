"""Zebu MYNT, a Noren order system (reference/brokers.md section 5)."""
