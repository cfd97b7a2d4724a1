"""`caducee --version`. Imports only the standard library, and needs neither settings nor a data folder."""

import os
import sys
from importlib.metadata import version


def print_version() -> None:
    """Print `caducee` and the version of the installed package on one line."""
    try:
        sys.stdout.write(f"caducee {version('caducee')}\n")
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads it; Python flushes again when it exits
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - only its descriptor is needed
            os.dup2(nothing.fileno(), sys.stdout.fileno())
