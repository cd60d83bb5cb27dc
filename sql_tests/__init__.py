"""What the database promises, proved against a real PostgreSQL with the surface of a hosted project."""
