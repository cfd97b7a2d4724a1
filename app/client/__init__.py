"""What a depositor's or recipient's program needs. Imports nothing of the service."""
