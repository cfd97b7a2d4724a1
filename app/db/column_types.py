"""Column types that behave the same on SQLite and PostgreSQL: times, and members of a log entry's content."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST, _LATEST = ((datetime(year, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND for year in (100, 9999))
"""Times read from the database are clamped to these, so that durations can be added to them and subtracted."""


def microseconds(value: datetime) -> int:
    """Return a time as it is stored: microseconds since 1970 UTC. Raises TypeError for a naive one."""
    return (value - _EPOCH) // _MICROSECOND


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime, stored as whole microseconds since 1970 UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Return the number to store. Raises TypeError for a naive datetime."""
        return None if value is None else microseconds(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return an aware datetime, clamped to the years 100 to 9999.

        Raises TypeError for a value that is not a number: SQLite accepts any value in any column.
        """
        if value is None:
            return None
        return _EPOCH + timedelta(microseconds=min(max(value, _EARLIEST), _LATEST))


class LenientTime(UtcTime):
    """`UtcTime` for a row that emergency controls and every sweep must be able to read: a value that is not a number
    reads as the year 9999, which contradicts every clock.
    """

    cache_ok = True

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Return an aware datetime for any stored value."""
        return super().process_result_value(
            value if value is None or isinstance(value, (int, float)) else _LATEST, dialect
        )


LAST_MEMBER = "transfer"
"""The last member of every entry that has it: members are sorted, and no name sorts after this one."""


class EntryMember(ColumnElement[str]):
    """The text value of a member of an entry's content, for a column that the database computes: it cannot be written,
    and it disappears when the content is pruned.
    """

    inherit_cache = False

    def __init__(self, name: str) -> None:
        """Store the name of the member."""
        self.name = name


@compiles(EntryMember, "sqlite")
def _member_sqlite(element: EntryMember, _compiler: SQLCompiler, **_: object) -> str:
    """Use plain text functions, because an untrusted schema may not use those for JSON. Canonical JSON contains no
    spaces and escapes quotes within values, so the search finds only the member. LAST_MEMBER, an id, is expected at the
    end only, because each insert evaluates the expression several times.
    """
    if element.name == LAST_MEMBER:
        return f'CASE WHEN substr(content, -36, 12) = \'"{LAST_MEMBER}":"\' THEN substr(content, -24, 22) END'
    key = f'\'"{element.name}":"\''
    rest = f"substr(content, instr(content, {key}) + {len(element.name) + 4})"
    return f"CASE WHEN instr(content, {key}) > 0 THEN substr({rest}, 1, instr({rest}, '\"') - 1) END"


@compiles(EntryMember, "postgresql")
def _member_postgresql(element: EntryMember, _compiler: SQLCompiler, **_: object) -> str:
    """Write the expression as PostgreSQL prints it, so that models and database compare equal."""
    return f"""\"substring\"(content, '"{element.name}":"([^"]*)"'::text)"""
