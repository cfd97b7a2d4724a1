"""What the service does, one step a file, named with a verb. Actions never call each other; routes may compose two."""
