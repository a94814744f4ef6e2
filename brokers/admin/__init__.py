"""Broker pages of the console: accounts, feed accounts and their login, names of contracts.

No page ever shows a credential or a token; the fields that hold them are not even read into forms.
"""

from brokers.admin import accounts, contractlists, feeds, logins

__all__ = ["accounts", "contractlists", "feeds", "logins"]
