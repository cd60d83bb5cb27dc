"""Hostile requests and odd payloads against a running relay, repeatable by seed. See `python -m fuzz --help`."""
