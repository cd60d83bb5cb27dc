"""The commands of `relay`: one module or folder per command, and the modules that several commands share."""
