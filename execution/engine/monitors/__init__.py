"""Periodic checks: leases, runs, risk levels, overdue waits, lost commits."""
