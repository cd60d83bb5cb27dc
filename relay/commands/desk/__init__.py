"""`relay desk`: the operators' pages on this machine."""
