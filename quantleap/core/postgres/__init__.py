"""Django's PostgreSQL backend, whose links are given up when the server says nothing any more."""
