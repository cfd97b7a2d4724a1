"""Request limits. h11 limits headers (64 KiB); the remaining size of a transfer limits file bodies."""

MAX_JSON_BYTES = 64 * 1024
"""The maximum size of a JSON body; the longest in docs/http-api.md has about 2 KiB."""
