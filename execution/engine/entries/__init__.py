"""The entry of a run: planned, committed, in the queue, fired at its second."""
