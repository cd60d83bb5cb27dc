"""What people use: one module or folder per command, and what several of them share."""
