"""`caducee --version`. Imports the standard library alone, and needs neither settings nor a data folder."""

import sys
from importlib.metadata import version


def print_version() -> None:
    """Write `caducee` and the version of the installed package to stdout, as one line."""
    sys.stdout.write(f"caducee {version('caducee')}\n")
