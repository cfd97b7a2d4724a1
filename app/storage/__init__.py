"""Where keys and encrypted bytes lie: the key vault and the blob store, each an interface with its implementations."""
