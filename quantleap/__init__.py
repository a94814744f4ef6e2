"""QuantLeap: settings, URLs and entry points of the project."""
