"""The options of `caducee` itself, before any command."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from app.runtime.setting_names import require_known, unknown_names, variables


def _version(asked: bool) -> None:
    if asked:
        from app.terminal.version import print_version

        print_version()
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
]


def program(*, version: Version = False) -> None:  # noqa: ARG001 - its callback prints it
    """Transfers files from one institution to another, once, and then deletes them provably."""
    if not {"-h", "--help"} & set(sys.argv):
        _require_known_settings()


def _require_known_settings() -> None:
    """Raise UnknownSetting for a misspelt variable, also before commands that read no settings."""
    if unknown_names(os.environ, ()):
        require_known(os.environ, variables(_fields()))


def _fields() -> list[str]:
    """Return the fields of the settings; none where only the client is installed, which has none."""
    try:
        from app.runtime.settings import Settings  # costs more than a client's whole start
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("app"):
            raise
        return []
    return list(Settings.model_fields)
