"""PostgreSQL's own programs, run on a restored backup. None of them connects to a server or listens for one.

A dump in pg_dump's custom format is turned into text by pg_restore. A base backup is opened by `postgres --single`: one
process on that folder, without sockets, which ends with its input, and so with the drill even if that is killed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TextIO, cast

from app.db.postgres_copy import DumpNotRead, Row, row_of

PLACES = ("usr/lib/postgresql/{}/bin", "usr/pgsql-{}/bin", "usr/libexec/postgresql{}", "usr/local/pgsql/bin")
"""Where distributions put the programs of a major version, below the root; `*` stands for any version."""

DRILLED = "caducee.drill"
"""Marks a base backup that a drill has opened before: PostgreSQL has renamed its `backup_label` then."""

_OVERRULED = {
    "config_file": "/dev/null",  # of the server that was backed up: it may name folders and libraries of that host
    "hba_file": "/dev/null",
    "ident_file": "/dev/null",
    "archive_mode": "off",
    "archive_command": "",
    "archive_library": "",
    "archive_cleanup_command": "",
    "restore_command": "",
    "recovery_end_command": "",
    "primary_conninfo": "",
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_statement": "none",
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
    "ssl": "off",
    "shared_buffers": "16MB",
    "huge_pages": "off",
    "fsync": "off",  # the folder is a copy, to be removed
}
"""Options that win over the backup's own `postgresql.auto.conf`."""


_DATABASES = "datname FROM pg_database WHERE datallowconn AND NOT datistemplate"
_END = "caducee-end"
_REASON = re.compile(r"(?:(?:FATAL|PANIC|error): +|^postgres: )(.*)")


class NoPostgresProgram(Exception):
    """A program of PostgreSQL that the drill needs is not installed."""


def dump_as_text(dump: Path, bin_dir: Path | None) -> Iterator[str]:
    """Yield the lines of a custom-format dump as SQL. Raises NoPostgresProgram, DumpNotRead."""
    program = _find("pg_restore", "*", bin_dir)
    command = [program, "--data-only", "--no-owner", "--no-privileges", "--file=-", str(dump.absolute())]
    yield from _output(command, said=f"pg_restore cannot read {dump}")


def copies_of_base_backup(
    folder: Path, tables: Mapping[str, tuple[str, ...]], bin_dir: Path | None
) -> Iterator[Iterator[tuple[str, Row]]]:
    """Yield, for each database of a base backup that has all of the tables, table and row of these columns. The folder
    is changed: PostgreSQL recovers it first. Raises NoPostgresProgram, DumpNotRead.
    """
    try:
        major = (folder / "PG_VERSION").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise DumpNotRead(f"{folder} cannot be read") from None
    _require_copy(folder)
    backend = _Backend(folder, _find("postgres", major, bin_dir))
    (folder / DRILLED).touch()
    for database in list(
        backend.rows("template1", "datname FROM pg_database WHERE datallowconn AND NOT datistemplate")
    ):
        there = ", ".join(f"to_regclass('{table}')" for table in tables)
        if list(backend.rows(database, f"num_nonnulls({there})")) == [str(len(tables))]:
            yield backend.tables(database, tables)


@dataclass(frozen=True, slots=True)
class _Backend:
    """`postgres --single` on a base backup; one run for each query."""

    folder: Path
    program: str

    def tables(self, database: str, tables: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, Row]]:
        """Yield table and row of these columns. Raises DumpNotRead."""
        for table, columns in tables.items():
            for row in self.rows(database, f"{', '.join(columns)} FROM {table}"):
                yield table, row_of(row, list(columns))

    def rows(self, database: str, selected: str) -> Iterator[str]:
        """Yield the rows as COPY text. `selected` is our own text: what follows SELECT. Raises DumpNotRead unless the
        query was answered to its end.
        """
        mark = f"caducee-drill-{token_hex(8)}"  # the backend prints its prompt before the rows
        typed = f"COPY (SELECT '{mark}', {selected}) TO STDOUT\nCOPY (SELECT '{mark}', '{_END}') TO STDOUT\n"
        command = [self.program, "--single", "-D", str(self.folder.absolute())]
        command += [word for name, value in _OVERRULED.items() for word in ("-c", f"{name}={value}")]
        owner = self.folder.stat() if os.geteuid() == 0 else None
        ended = False
        for line in _output([*command, database], said="PostgreSQL cannot open it", typed=typed, owner=owner):
            _, marked, row = line.rstrip("\n").partition(f"{mark}\t")
            ended = ended or row == _END
            if marked and not ended:
                yield row
        if not ended:
            raise DumpNotRead("PostgreSQL did not answer from the base backup: are all of its files there?")


def _output(command: list[str], *, said: str, typed: str = "", owner: os.stat_result | None = None) -> Iterator[str]:
    """Run a program to its end, as `owner` if given, and yield its lines. Its environment has none of ours: PGHOST
    could name the running server. Raises DumpNotRead, with the reason if the program stated one.
    """
    reasons: list[str] = []
    process = subprocess.Popen(  # noqa: S603 - PostgreSQL's own programs
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"LC_ALL": "C", "PATH": os.defpath},
        cwd="/",
        encoding="utf-8",
        errors="replace",
        umask=0o077,
        user=owner.st_uid if owner else None,
        group=owner.st_gid if owner else None,
        extra_groups=() if owner else None,
    )
    try:
        with suppress(BrokenPipeError), cast("TextIO", process.stdin) as stdin:  # it may have failed; it says why
            stdin.write(typed)
        for line in cast("TextIO", process.stdout):
            stated = _REASON.search(line)
            if stated:
                reasons.append(stated[1])
            yield line
    finally:
        cast("TextIO", process.stdout).close()  # if nobody reads on, the program ends
        process.wait()
    if process.returncode != 0:
        raise DumpNotRead(": ".join([said, *reasons[:1]]))


def _require_copy(folder: Path) -> None:
    """Raise DumpNotRead unless the folder is a restored base backup: the drill must never open that of a server,
    running or stopped.
    """
    if (folder / "postmaster.pid").exists():
        raise DumpNotRead(f"{folder} belongs to a server (postmaster.pid): name a copy of the backup")
    if not (folder / "backup_label").exists() and not (folder / DRILLED).exists():
        raise DumpNotRead(f"{folder} is not a base backup (no backup_label): restore one with pg_basebackup or a copy")
    if (folder / "standby.signal").exists() or (folder / "recovery.signal").exists():
        raise DumpNotRead(f"{folder} is a standby or to be recovered from an archive: remove *.signal from this copy")
    if os.geteuid() == 0 == folder.stat().st_uid:
        raise DumpNotRead(f"PostgreSQL does not run as root: give {folder} to the service's user (chown -R)")


def _find(program: str, major: str, bin_dir: Path | None) -> str:
    """Return a program of a major version, the newest there is for `*`: it reads what older ones wrote."""
    if bin_dir is not None:
        found = [bin_dir / program]
    else:
        found = [path / program for place in PLACES for path in Path("/").glob(place.format(major))]
        on_path = shutil.which(program)
        found += [Path(on_path)] if on_path is not None else []
    fit = [(int(of), str(path)) for path in found if (of := _major_of(path)) and major in {"*", of}]
    if not fit:
        version = "" if major == "*" else f" of PostgreSQL {major}"
        raise NoPostgresProgram(f"{program}{version} is not here: install it, or name its folder with --postgres-bin")
    return max(fit)[1]


def _major_of(program: Path) -> str:
    """Return the major version, empty for what is no program of PostgreSQL."""
    if not os.access(program, os.X_OK):
        return ""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - as above
    stated = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return stated[1] if stated else ""
