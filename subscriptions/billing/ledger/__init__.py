"""The books: what every account holds, posted in balance, and whether it all adds up."""
