"""The scheduler: a process of its own, or one child of `caducee serve`. It deletes, and it alone signs the log."""
