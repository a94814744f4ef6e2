"""The ledger: chart of accounts, balanced postings, and checks that everything adds up."""
