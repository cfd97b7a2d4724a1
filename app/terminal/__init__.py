"""The commands: one file per noun. Each parses, calls one action, and prints. Data to stdout, talk to stderr."""
