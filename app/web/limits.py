"""Limits on what a request may bring. Header size is limited by h11 (64 KiB), file bodies by the transfer's room."""

MAX_JSON_BYTES = 64 * 1024
"""The largest JSON body; the longest one that docs/http-api.md describes has some 2 KiB."""
