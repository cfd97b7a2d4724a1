"""Insert many rows in one `executemany` of the driver; SQLAlchemy's per-row processing takes several times as long."""

from __future__ import annotations

from sqlalchemy import Connection


def insert_rows(
    connection: Connection, into: str, rows: list[tuple[object, ...]], *, keep_existing: bool = False
) -> None:
    """Insert at least one row into a table with its columns, such as `pairs (left, right)`.

    `into` is a constant and never contains input. With `keep_existing`, a row whose key exists is skipped; otherwise
    IntegrityError is raised.
    """
    rest = " ON CONFLICT DO NOTHING" if keep_existing else ""
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    marks = ", ".join([mark] * len(rows[0]))
    connection.exec_driver_sql(f"INSERT INTO {into} VALUES ({marks}){rest}", rows)  # noqa: S608 - names of ours alone
