"""The executor's own means: database threads, the quiet window, call slots, its log. No orders."""
