"""Examine an installation: stores, modes, volumes, clock, sweeper, and what is to be done. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime

from app.db import service_rows, transfer_rows
from app.db.reserve import RESERVE_BYTES
from app.domain.finding import Finding, Level
from app.domain.retention import deletion_is_assured
from app.lifecycle import house_findings
from app.lifecycle.gate import doubts_of
from app.lifecycle.rollback import VaultRolledBack, require_vault_not_rolled_back
from app.runtime.resources import Resources
from app.runtime.separate_users import unshared_folders
from app.storage.errors import StorageError
from app.storage.place import folder_place
from app.storage.signing_folder import SigningFolder
from app.storage.vault_marks import read_high_water


def examine(resources: Resources) -> list[Finding]:
    """Return all findings in a fixed order."""
    checks: tuple[Callable[[Resources], Iterator[Finding]], ...] = (
        _modes,
        _vault_place,
        _vault_configuration,
        _vault_mark,
        _space,
        _blobs,
        _reserve,
        _intake,
        _sweeper,
        _clock,
        _separate_users,
        _user,
        *house_findings.CHECKS,
    )
    return [finding for check in checks for finding in check(resources)]


def _modes(resources: Resources) -> Iterator[Finding]:
    """Only the service's user may read the stores."""
    keys = folder_place(resources.settings.signing_dir)
    for name, place in (("vault", resources.vault.place()), ("keys", keys), ("blobs", resources.blobs.place())):
        if place.mode is None:
            continue
        allowed = 0o770 if resources.settings.separate_users else 0o700
        if place.mode & 0o777 & ~allowed:
            said = f"mode {place.mode:04o}: other users have access"
            yield Finding(Level.WRONG, f"{name} folder", said, f"chmod {allowed:o} on that folder")
        else:
            yield Finding(Level.GOOD, f"{name} folder", f"mode {place.mode:04o}")


def _vault_place(resources: Resources) -> Iterator[Finding]:
    """The vault should be on a volume of its own, outside backups and snapshots (docs/operations.md)."""
    database = resources.database.file
    beside = [resources.blobs.place(), *([folder_place(database.parent)] if database else [])]
    volume = resources.vault.place().volume
    if volume is not None and volume in {place.volume for place in beside}:
        yield Finding(
            Level.WEAK,
            "vault volume",
            "the key vault shares a volume with data; a backup or snapshot of that volume would hold keys",
            "give it a volume of its own: CADUCEE_VAULT",
        )
    elif volume is not None:
        yield Finding(Level.GOOD, "vault volume", "separate from database and blobs")


def _vault_configuration(resources: Resources) -> Iterator[Finding]:
    """A vault on PostgreSQL must not keep what is deleted; each setting that would is named with its right value."""
    if resources.settings.vault_dir is not None:
        return
    try:
        problems = resources.vault.configuration_problems()
    except StorageError as error:
        problems = [str(error)]
    yield from vault_findings(problems)


def vault_findings(problems: list[str]) -> list[Finding]:
    """Return the findings of a vault on PostgreSQL."""
    do = "deploy/vault-postgresql.conf has all settings (docs/operations.md, The vault on PostgreSQL)"
    wrong = [Finding(Level.WRONG, "vault instance", problem, do) for problem in problems]
    return wrong or [Finding(Level.GOOD, "vault instance", "keeps nothing that was deleted")]


def _space(resources: Resources) -> Iterator[Finding]:
    free = resources.blobs.free_bytes()
    if free is None:
        return
    enough = free >= resources.settings.min_free_bytes
    said = f"{free / 1024**3:.1f} GiB"
    if enough:
        yield Finding(Level.GOOD, "free space", said)
    else:
        do = "free space on the blobs' volume, or lower CADUCEE_MIN_FREE_BYTES"
        yield Finding(Level.WRONG, "free space", f"{said}: deposits are refused", do)


def _blobs(resources: Resources) -> Iterator[Finding]:
    """What the store itself does with blobs, such as a bucket's versions and lifecycle rules."""
    try:
        yield from resources.blobs.findings(resources.settings.max_lifetime)
    except StorageError as error:
        yield Finding(Level.WRONG, "blob store", str(error), "docs/runbook.md, storage_unavailable")


def _reserve(resources: Resources) -> Iterator[Finding]:
    """On SQLite: the space for deletion on a full volume, which the scheduler holds."""
    reserve, size = resources.database.reserve, f"{RESERVE_BYTES >> 20} MiB"
    if reserve.free_bytes() is None:
        return
    if reserve.in_place():
        yield Finding(Level.GOOD, "reserve", f"{size} of the database's volume are held for deletion")
    elif reserve.has_room():
        yield Finding(Level.NOTE, "reserve", "not there yet", "start the scheduler, which makes it within a minute")
    else:
        said = "given up: the database's volume is full, and deposits are refused"
        yield Finding(Level.WRONG, "reserve", said, "free space on the database's volume")


def _intake(resources: Resources) -> Iterator[Finding]:
    with resources.database.reading() as connection:
        since = service_rows.intake_off_since(connection)
    if since is not None:
        said = f"off since {since:%Y-%m-%dT%H:%M:%SZ}: no new transfers"
        yield Finding(Level.WEAK, "intake", said, "caducee intake on")


def _sweeper(resources: Resources) -> Iterator[Finding]:
    """Compare the last successful sweep in the database with the vault's mark, which every sweep advances."""
    now, deadman = resources.clock.now(), resources.settings.deadman
    do = "start the scheduler (caducee serve or caducee scheduler), and read its log"
    with resources.database.reading() as connection:
        state = service_rows.get(connection)
        in_use = bool(transfer_rows.page(connection, "", 1))
    last, marked_at = state.last_sweep_at, _marked_at(resources)
    said = f"last successful sweep {last:%Y-%m-%dT%H:%M:%SZ}" if last else "no sweep has succeeded yet"
    if last is None and not in_use and not any(True for _ in resources.vault.names()):
        level = Level.NOTE if deletion_is_assured(state.created_at, now, deadman) else Level.WEAK
        yield Finding(level, "sweeper", f"{said}, and nothing is held", do)
    elif not deletion_is_assured(last, now, deadman):
        yield Finding(Level.WRONG, "sweeper", said, do)
    elif not deletion_is_assured(marked_at, now, deadman):
        known = f"since {marked_at:%Y-%m-%dT%H:%M:%SZ}" if marked_at else "at all"
        said = f"{said} according to the database; the vault has recorded none {known}"
        yield Finding(Level.WRONG, "sweeper", said, "docs/runbook.md, row_contradicts_witness; " + do)
    else:
        yield Finding(Level.GOOD, "sweeper", said)


def _marked_at(resources: Resources) -> datetime | None:
    """Return the time of the vault's mark, or None if it has no readable one."""
    try:
        remembered = read_high_water(resources.vault)
    except StorageError:
        return None
    return remembered.at if remembered is not None else None


def _clock(resources: Resources) -> Iterator[Finding]:
    with resources.database.reading() as connection:
        doubts = doubts_of(resources, service_rows.get(connection))
    if doubts.clock_problem:
        do = "caducee clock status; correct the clock, then caducee clock accept"
        yield Finding(Level.WRONG, "clock", f"not trusted: {doubts.clock_problem}", do)
    else:
        yield Finding(Level.GOOD, "clock", "host, database and vault agree with the boot clock's count")


def _vault_mark(resources: Resources) -> Iterator[Finding]:
    """Compare the vault's mark with the copy in the signer's folder."""
    try:
        require_vault_not_rolled_back(resources.vault, SigningFolder(resources.settings.signing_dir))
    except (StorageError, VaultRolledBack) as error:
        yield Finding(Level.WRONG, "high-water mark", str(error), "docs/runbook.md, vault_rolled_back")
    else:
        yield Finding(Level.GOOD, "high-water mark", "the vault's mark is as new as the signer's copy of it")


def _separate_users(resources: Resources) -> Iterator[Finding]:
    """Processes that face the network should not be able to do the scheduler's work (docs/operations.md)."""
    if not resources.settings.separate_users:
        said = "one user for all processes: one that is taken over could read the signing key"
        yield Finding(Level.WEAK, "separate users", said, "CADUCEE_SEPARATE_USERS=1 (docs/operations.md, Users)")
        return
    wrong = list(unshared_folders(resources.settings))
    for said in wrong:
        yield Finding(Level.WRONG, "separate users", said, "docs/operations.md, Users")
    if not wrong:
        yield Finding(Level.GOOD, "separate users", "the scheduler's folders are its own")


def _user(_resources: Resources) -> Iterator[Finding]:
    if os.geteuid() == 0:
        yield Finding(Level.WEAK, "user", "running as root", "run it as the service's user (docs/operations.md, Users)")
