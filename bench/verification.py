"""Verification of the log, compared with a plain loop that reads the same rows and hashes each once."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from app.actions.sign_checkpoint import sign_checkpoint
from app.actions.verify_log import verify_log
from app.runtime.installation import open_resources
from app.runtime.resources import Resources
from app.runtime.settings import Settings
from app.storage.signing_folder import SigningFolder
from bench.log_entries import downloads

ENTRIES_AT_ONCE = 5_000


def rounds(folder: Path, *, entries: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return CPU seconds of verifying a fresh log of at least `entries` entries, and of the plain loop, in turns."""
    resources = open_resources(Settings(data_dir=folder, log_format="json"))
    try:
        _fill(resources, entries)
        signing = SigningFolder(resources.settings.signing_dir)
        sign_checkpoint(resources, signing)
        taken = [(_verify(resources, signing), _plain_loop(resources)) for _ in range(rounds)]
    finally:
        resources.close()
    return [ours for ours, _ in taken], [theirs for _, theirs in taken]


def _fill(resources: Resources, entries: int) -> None:
    for first in range(0, entries, ENTRIES_AT_ONCE):
        with resources.database.writing() as transaction:
            transaction.log(*downloads(first, min(ENTRIES_AT_ONCE, entries - first)))


def _verify(resources: Resources, signing: SigningFolder) -> float:
    begun = time.process_time()
    verdict = verify_log(resources, signing)
    taken = time.process_time() - begun
    assert verdict.problem is None, verdict.problem
    return taken


def _plain_loop(resources: Resources) -> float:
    begun = time.process_time()
    with closing(sqlite3.connect(str(resources.database.file))) as connection:
        for _sequence, content in connection.execute("SELECT sequence, content FROM audit_entries ORDER BY sequence"):
            sha256(b"\x00" + content.encode()).digest()
    return time.process_time() - begun
