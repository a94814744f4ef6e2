"""The entry of a run: planned, committed, queued, fired at its second."""
