"""What is decided before and after the call: the standard library only, no I/O, no clock, no environment."""
