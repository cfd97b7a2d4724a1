"""How settings are printed: their values, with passwords masked, and in one line what is wrong with one: its variable,
the value, and what it may be.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from app.domain.duration import format_duration
from app.runtime.setting_names import PREFIX

MAX_QUOTED = 80
SECRETS = frozenset({"database_url", "vault", "oidc_client_secret"})
"""Fields whose value may be secret. A test compares them with the types of the fields."""

URLS = frozenset({"database_url", "vault"})
"""Those that are URLs or folders, of which only the password is masked."""

_WORDS = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "bool_parsing": "must be true or false",
    "string_pattern_mismatch": "must be host:port, such as 127.0.0.1:9464",
    "literal_error": "must be {expected}",
}


def setting_line(error: dict[str, Any]) -> str:
    """Return the line for one of the errors of a pydantic ValidationError."""
    words = _WORDS.get(error["type"])
    said = words.format(**error.get("ctx", {})) if words else error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return str(said)
    field = str(error["loc"][0])
    given = error.get("input")
    quoted = f" is {_quoted(given)}" if isinstance(given, str) and field not in SECRETS else ""
    return f"{PREFIX}{field.upper()}{quoted}: {said}"


def shown(value: object, *, field: str = "") -> object:
    """Return a value as the variable would hold it, without secrets."""
    if isinstance(value, SecretStr) and field not in URLS:
        return "***"
    if isinstance(value, SecretStr):
        return _without_password(value.get_secret_value())
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value) if isinstance(value, Path) else value


def _without_password(url: str) -> str:
    """Mask passwords before the host and in the query. The text need not be a valid URL."""
    address, question, query = url.partition("?")
    scheme, slashes, rest = address.partition("://")
    user, at, host = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    masked = [re.sub(r"(?i)^([^=]*password[^=]*=).*", r"\1***", pair, flags=re.DOTALL) for pair in query.split("&")]
    return f"{scheme}{slashes}{name}{colon and ':***'}{at}{host}{question}{'&'.join(masked)}"


def _quoted(value: str) -> str:
    """Quote a value, without what may be a user and a password before a host or in a query."""
    bare = re.sub(r"(?i)(password[^=&]*=)[^&]*", r"\1***", re.sub(r".*@", "***@", value))
    return repr(bare if len(bare) <= MAX_QUOTED else f"{bare[:MAX_QUOTED]}...")
