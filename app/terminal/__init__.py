"""The commands: one file per noun. Each parses, calls one action, and prints: data to stdout, messages to stderr."""
