"""What is decided before and after the call. Standard library only; no I/O, no clock, no environment."""
