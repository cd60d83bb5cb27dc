"""What the local stack promises to everybody who starts it."""
