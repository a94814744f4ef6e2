"""What this executor holds, one class for each thing that several parts share."""
