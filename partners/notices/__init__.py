"""What a partner's own contacts are written: that it is suspended, and that it is back."""
