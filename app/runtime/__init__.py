"""The state of one process: settings, stores, queues, clock and logs."""
