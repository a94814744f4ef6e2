"""Sending one order: its account's session, the last check, the send, the answer."""
