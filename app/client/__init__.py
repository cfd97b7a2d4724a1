"""The client library for depositors' and recipients' programs. Imports nothing from the server."""
