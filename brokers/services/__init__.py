"""Every change of this room's state goes through one of these modules."""
