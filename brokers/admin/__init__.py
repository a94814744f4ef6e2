"""Console pages of the room brokers: accounts, feed accounts and their login, contract names.

No page ever shows a credential or a token; forms do not even read the fields that hold them.
"""

from brokers.admin import accounts, contract_lists, feeds, logins

__all__ = ["accounts", "contract_lists", "feeds", "logins"]
