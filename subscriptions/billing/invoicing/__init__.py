"""What customers are invoiced: segments, the run, numbers, and the documents that they get."""
