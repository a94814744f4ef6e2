"""What looks every second or so: risk levels, overdue waits, memory against the database."""
