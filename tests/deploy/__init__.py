"""What the relay promises: sans-I/O first, then HTTP on real sockets, then end to end over the local stack."""
