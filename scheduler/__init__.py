"""The scheduler: a separate process, or a child of `caducee serve`. It deletes, and only it signs the log."""
