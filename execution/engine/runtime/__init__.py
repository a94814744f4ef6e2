"""The executor's infrastructure: database threads, quiet window, call slots, log. No orders."""
