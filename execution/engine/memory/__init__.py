"""State that several parts of the executor share, one class for each kind."""
