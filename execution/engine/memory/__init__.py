"""What this executor holds of the day, and of each real account."""
