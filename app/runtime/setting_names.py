"""The names of settings: which `CADUCEE_` variables and secret files exist, and where each value comes from.

An unknown name stops every command. It is a misspelt setting, and the default in its place would not be noticed: seven
days instead of one.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

PREFIX = "CADUCEE_"
SECRETS_DIR = "CADUCEE_SECRETS_DIR"
OF_CLIENTS = frozenset({"CADUCEE_SERVER", "CADUCEE_TOKEN", "CADUCEE_CLIENT_KEY", "CADUCEE_PASSWORD_COMMAND"})
"""The variables of commands that speak HTTP. They are no settings of the service."""

_OTHERS = re.compile(
    # The program's own, from `serve` to its workers, and the tests'.
    r"CADUCEE_(SERVE_.+|FAULT(_.+)?|REQUIRE_ALL|TEST_.+|"
    # Kubernetes sets these for services named `caducee` and `caducee-...`.
    r"PORT(_.+)?|(.+_)?SERVICE_.+|.+_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_KUBERNETES_URL = re.compile(r"(tcp|udp|sctp)://.*")


class UnknownSetting(Exception):
    """A variable or secret file begins with `CADUCEE_` and is no setting."""


class BadSecretsFolder(Exception):
    """The folder of the secret files is none, or holds one that cannot be read."""


def variables(names: Iterable[str]) -> frozenset[str]:
    """Return the variables of fields of `Settings`."""
    return frozenset(f"{PREFIX}{name.upper()}" for name in names)


def unknown_names(environment: Mapping[str, str], known: Collection[str]) -> list[str]:
    """Return the `CADUCEE_` variables that are neither known nor somebody else's. Names count in capitals only."""
    return sorted(
        name
        for name, value in environment.items()
        if name.upper().startswith(PREFIX)
        and name not in known
        and name not in OF_CLIENTS
        and name != SECRETS_DIR
        and not _OTHERS.fullmatch(name)
        and not (name.endswith("_PORT") and _KUBERNETES_URL.fullmatch(value))
    )


def require_known(environment: Mapping[str, str], known: Collection[str]) -> None:
    """Raise UnknownSetting for a variable or secret file that is no setting, with the nearest name that is one.

    Raises BadSecretsFolder.
    """
    folder = secrets_folder(environment)
    files = dict.fromkeys(_names_in(folder), "") if folder else {}
    wrong = [_said(name, known) for name in unknown_names(environment, known)]
    wrong += [f"secret file {_said(name, known)}" for name in unknown_names(files, known)]
    if wrong:
        raise UnknownSetting("; ".join(wrong))


def secrets_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of the secret files, or None. Raises BadSecretsFolder."""
    given = environment.get(SECRETS_DIR)
    if given is None:
        return None
    folder = Path(given).absolute()
    if not given or not folder.is_dir():
        raise BadSecretsFolder(f"{SECRETS_DIR} is {given!r}: must be an existing folder")
    return folder


def source_of(variable: str) -> str:
    """Return where the value of a setting comes from: `environment`, `secret file <path>` or `default`."""
    folder = secrets_folder()
    if variable in os.environ:
        return "environment"
    if folder is not None and (folder / variable).is_file():
        return f"secret file {folder / variable}"
    return "default"


def _names_in(folder: Path) -> list[str]:
    """Return the names of the settings' files. Raises BadSecretsFolder unless each can be read as text."""
    try:
        files = [file for file in folder.iterdir() if file.name.upper().startswith(PREFIX)]
        for file in files:
            file.read_text(encoding="utf-8")
    except OSError as error:
        raise BadSecretsFolder(f"{SECRETS_DIR}: {error.filename}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadSecretsFolder(f"{SECRETS_DIR}: {file} is not text in UTF-8") from None
    return [file.name for file in files]


def _said(name: str, known: Collection[str]) -> str:
    names = sorted({*known, *OF_CLIENTS, SECRETS_DIR})
    nearest = difflib.get_close_matches(name.upper(), names, n=1, cutoff=0.0)[0]
    return f"{ascii(name)[1:-1]} is no setting: is {nearest} meant?"
