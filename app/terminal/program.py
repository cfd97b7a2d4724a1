"""The options of `caducee` itself, before any command."""

from __future__ import annotations

from typing import Annotated

import typer

from app.terminal.version import print_version


def _version(asked: bool) -> None:
    if asked:
        print_version()
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
]


def program(*, version: Version = False) -> None:
    """Transfers files from one institution to another, once, and then deletes them provably."""
