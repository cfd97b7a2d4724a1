"""`caducee --version`. Imports only the standard library, and needs neither settings nor a data folder."""

import sys
from importlib.metadata import version


def print_version() -> None:
    """Print `caducee` and the version of the installed package on one line."""
    sys.stdout.write(f"caducee {version('caducee')}\n")
