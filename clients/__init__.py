"""Programs that use QuantLeap from outside, as its customers would."""
