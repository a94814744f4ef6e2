"""Mails to a partner's own contacts: that it was suspended, and that it was reinstated."""
