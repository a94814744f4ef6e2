"""Every statement of the executor: leases, decisions, loading the day, writing it back."""
