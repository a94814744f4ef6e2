"""What looks every second or so: leases, runs, risk levels, overdue waits, what went unheard."""
