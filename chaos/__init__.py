"""Many deliveries while everything behind and around the relay fails. See `python -m chaos --help`."""
