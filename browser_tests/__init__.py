"""What only a browser can tell: `make browser`, on a machine with Chromium."""
