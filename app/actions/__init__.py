"""The actions of the service, one per file, named by a verb. Actions never call each other; routes may call two."""
