"""One order on its way: its account's session, the last look, the send, the answer."""
