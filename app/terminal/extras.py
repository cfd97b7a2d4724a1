"""Which extras of the package are installed."""

from __future__ import annotations

from importlib.util import find_spec


def has_server() -> bool:
    """Return whether the packages of the extra `server` are installed, without importing one."""
    try:
        return find_spec("sqlalchemy") is not None
    except ModuleNotFoundError:
        return False
