"""`column IN (…)` with any number of values in one parameter, so that the statement is built and planned once.
SQLAlchemy's own `in_` creates one parameter per value, which for a sweep is slower than running the statement.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Dialect, String, TypeDecorator, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class Texts(TypeDecorator[Iterable[str]]):
    """A list of strings in one parameter, as a JSON array."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Iterable[str] | None, dialect: Dialect) -> str:  # noqa: ARG002
        """Return the JSON array; an empty one for None."""
        return json.dumps(list(value or ()))


def any_of(column: ColumnElement[str], values: Iterable[str] | BindParameter[Any]) -> ColumnElement[bool]:
    """Return the condition that a column has one of the values; these may be a bind parameter of type `Texts`."""
    given = values if isinstance(values, BindParameter) else bindparam(None, list(values), type_=Texts())
    found: ColumnElement[bool] = column.op("IN", is_comparison=True)(_Members(given))
    return found


class _Members(FunctionElement[str]):
    """The members of a JSON array of strings, as rows."""

    name = "members"
    type = String()
    inherit_cache = True


@compiles(_Members, "sqlite")
def _members_sqlite(element: _Members, compiler: SQLCompiler, **how: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **how)}))"  # noqa: S608 - a parameter


@compiles(_Members, "postgresql")
def _members_postgresql(element: _Members, compiler: SQLCompiler, **how: Any) -> str:
    return f"(SELECT json_array_elements_text(CAST({compiler.process(element.clauses, **how)} AS json)))"
