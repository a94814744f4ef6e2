"""Programs that use QuantLeap from outside, as customers of it would."""
