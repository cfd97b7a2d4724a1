"""Steps 7 and 8 of a file's life, for a batch of transfers: `batch.py` takes them, `settling.py` says how it ended."""
