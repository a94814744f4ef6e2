"""Every SQL statement of the executor: leases, decisions, loading and writing the trading day."""
