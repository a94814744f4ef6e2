"""How bytes leave and answers come: sockets, connections, channels of accounts, order streams."""
