"""What the value of a setting may be: rules that `settings.py` attaches to its fields.

Each takes the text of a variable or secret file, and raises ValueError with what the value may be. A value that comes
from code, already of its type, passes.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.domain.duration import parse_duration
from app.domain.errors import InvalidDuration
from app.domain.network_address import is_loopback, parse_network, protects_secrets

POSTGRES = "postgresql+psycopg"
_QUOTES = ("'", '"', "\N{LEFT DOUBLE QUOTATION MARK}", "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}", "`")


def require_plain(text: str, *, may_be_empty: bool) -> str:
    """Refuse what no setting can mean: quotes around the value, which `docker --env-file` keeps, control characters,
    and nothing at all, which a failed `$EXPANSION` leaves.
    """
    if not text.strip() and (text or not may_be_empty):
        raise ValueError("is empty: remove the variable to get the default")
    if not text.isprintable():
        raise ValueError("contains a control character, such as the carriage return of a file from Windows")
    if text.startswith(_QUOTES):
        raise ValueError("begins with a quote, which would be part of the value: remove the quotes")
    return text


@dataclass(frozen=True)
class DurationBetween:
    """A duration in the service's own format, within a range; pydantic's parser also accepts ISO 8601 and floats."""

    least: str
    most: str

    def __call__(self, value: object) -> timedelta:
        """Parse it."""
        if isinstance(value, timedelta):
            return value
        try:
            duration = parse_duration(value)
        except InvalidDuration:
            raise ValueError(
                f"must be a duration from {self.least} to {self.most}: seconds, or a number with s, m, h or d"
            ) from None
        if not parse_duration(self.least) <= duration <= parse_duration(self.most):
            raise ValueError(f"must be from {self.least} to {self.most}")
        return duration


def whole_number(value: object) -> object:
    """Refuse `1_000`, `+5` and `5.0`, which pydantic would accept."""
    if isinstance(value, str) and not (value.isascii() and value.isdecimal()):
        raise ValueError("must be a whole number, in digits alone")
    return value


def listed(value: object) -> object:
    """Split a comma-separated variable. Refuses an empty part and one that is listed twice."""
    if not isinstance(value, str):
        return value
    parts = tuple(part.strip() for part in value.split(",")) if value.strip() else ()
    if not all(parts):
        raise ValueError("has an empty part: separate the parts with single commas")
    twice = [part for part, count in Counter(part.casefold() for part in parts).items() if count > 1]
    if twice:
        raise ValueError(f"lists {twice[0]!r} twice")
    return parts


def proxies(value: object) -> object:
    """Split a list of addresses and networks."""
    parts = listed(value)
    for part in parts if isinstance(parts, tuple) else ():
        try:
            parse_network(part)
        except ValueError as error:
            if "every address" in str(error):
                raise
            bits = ": bits beyond the prefix are set" if "host bits" in str(error) else ""
            raise ValueError(
                f"must be addresses or networks, such as 10.1.2.3 or 10.1.0.0/16, without ports or names; "
                f"{part!r} is neither{bits}"
            ) from None
    return parts


def folder(value: object) -> object:
    """Return the absolute path of a folder, which need not exist. Refuses a path that leads through a file."""
    if not isinstance(value, str | Path):
        return value
    if str(value).startswith("~") or "$" in str(value):
        raise ValueError("must be a folder by its full path: ~ and $ are not expanded")
    path = Path(value).absolute()
    if path == Path(path.anchor):
        raise ValueError("must be a folder of its own, not the root of the file system")
    nearest = next((each for each in (path, *path.parents) if os.path.lexists(each)), path)
    if os.path.lexists(nearest) and not nearest.is_dir():
        raise ValueError(f"must be a folder: {nearest} is none")
    return path if isinstance(value, Path) else str(path)


def database_url(value: object) -> object:
    """Check the URL of a database. It may contain a password, so no message quotes it."""
    if not isinstance(value, str):
        return value
    try:
        parsed = make_url(value)
        named = bool(parsed.database) and parsed.database != ":memory:" and (parsed.port or 1) <= 65_535
    except (ArgumentError, ValueError):
        named = False
    if not named or parsed.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        raise ValueError(
            "must be postgresql+psycopg://user@host/name or sqlite:////path/to/file, with @, : and / of a password as "
            "%40, %3A and %2F"
        )
    return value


def vault_place(value: object) -> object:
    """Check the place of the key vault: a folder, or the URL of a database on PostgreSQL. Keys cross the network only
    to a server that proves its name. A URL may contain a password, so no message quotes it.
    """
    if not isinstance(value, str) or "://" not in value:
        return None if value is None else str(folder(value)) if isinstance(value, str | Path) else value
    try:
        parsed = make_url(value)
        hosts = _hosts(parsed)
        right = parsed.drivername == POSTGRES and bool(parsed.database) and (parsed.port or 1) <= 65_535
    except (ArgumentError, ValueError):
        right = False
    if not right:
        raise ValueError(f"must be a folder, or begin with {POSTGRES}://, as {POSTGRES}://user@host/name")
    if any(not is_local(host) for host in hosts) and parsed.query.get("sslmode") != "verify-full":
        raise ValueError("must end with ?sslmode=verify-full, because keys cross the network to its host")
    return value


def _hosts(url: URL) -> list[str]:
    given = url.query.get("host", ())
    queried = [given] if isinstance(given, str) else list(given)
    return [host for text in (url.host or "", *queried) for host in text.split(",") if host]


def is_local(host: str) -> bool:
    """Return whether a host of PostgreSQL is this machine: a socket's folder, or loopback."""
    return host.startswith("/") or host == "localhost" or is_loopback(host)


def is_issuer(value: str) -> bool:
    """Return whether a text can be the address of an identity provider (OpenID Connect Discovery, 2)."""
    scheme, separator, rest = value.partition("://")
    origin = f"{scheme}://{rest.partition('/')[0]}"
    return bool(separator) and protects_secrets(origin) and not set(rest) & set("?# @\\") and value.isascii()


def mixed_up(places: dict[str, Path], *, may_hold: frozenset[str]) -> str | None:
    """Return which of the places is another one or lies in it, or None. Those in `may_hold` may hold others."""
    real = {name: Path(os.path.realpath(path)) for name, path in places.items()}
    for outer, above in real.items():
        for inner, below in real.items():
            if inner != outer and (above == below or (above in below.parents and outer not in may_hold)):
                return f"{inner} ({below}) must not lie in {outer} ({above}): each needs a folder of its own"
    return None
