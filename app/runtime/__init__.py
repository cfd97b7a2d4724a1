"""What one process has: settings, its stores and queues, its clock, its logs."""
