"""QuantLeap: wiring of the house."""
