"""Storage of keys and encrypted bytes: the key vault and the blob store, each an interface with its implementations."""
