"""First step of every sweep: judge the clocks and the vault, and persist the time.

The time comes from the boot clock and the vault (app/domain/clock.py). It is written to the database, whose own value
is compared but never used. The mark in the vault includes the log's size and root: a database restored from a backup
has a shorter log than the vault's mark, and a vault restored from a copy has an older mark than the signer's folder.
While a clock, the database or the vault is not trusted, deposits and fetches are refused; destruction continues by the
boot clock's count.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from app.db import service_rows
from app.domain.audit_events import Entry, Event
from app.domain.clock import AcceptanceReason, BootTime, Judgement
from app.lifecycle import rollback
from app.lifecycle.rollback import DatabaseRolledBack, VaultRolledBack
from app.runtime.resources import Resources
from app.storage.errors import StorageError, VaultUnavailable
from app.storage.signing_folder import SigningFolder
from app.storage.vault_marks import read_time, write_boot_time

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Assessment:
    """A judgement, the anchor to keep, and why the host's clock was accepted, if it was."""

    judgement: Judgement
    boot: BootTime
    taking: AcceptanceReason | None


def keep_time(resources: Resources) -> Judgement:
    """Judge the time and persist the result. Problems are recorded first, so that every process refuses, then raised:
    DatabaseRolledBack; VaultRolledBack; StorageError if the vault or the signer's folder cannot be read or written.
    """
    signing = SigningFolder(resources.settings.signing_dir)
    assessment = _attend(resources, signing)
    doubted: StorageError | VaultRolledBack | None = None
    try:
        rollback.require_vault_not_rolled_back(resources.vault, signing)
    except (StorageError, VaultRolledBack) as error:
        doubted = error
    vault_problem = str(doubted)[:200] if isinstance(doubted, VaultRolledBack) else None
    found_elsewhere = _note(resources, assessment, vault_problem)
    if doubted is not None:
        raise doubted
    if found_elsewhere is not None:  # writing a mark now would make that host forget
        raise VaultRolledBack(found_elsewhere)
    try:
        rollback.keep(resources, assessment.judgement.now)
    except DatabaseRolledBack:
        with resources.database.writing() as transaction:
            service_rows.note_rolled_back(transaction.connection, assessment.judgement.now)
        raise
    rollback.remember_vault(resources.vault, signing)
    return assessment.judgement


def keep_time_or_alert(resources: Resources) -> bool:
    """Keep the time. Return False if the vault or the database was rolled back, or the mark cannot be stored. Expiry
    continues, but the sweep does not count as successful, so the dead-man's switch triggers.
    """
    try:
        keep_time(resources)
    except DatabaseRolledBack as error:
        log.error("database_rolled_back", detail=str(error), alert=True)
    except VaultRolledBack as error:
        log.error("vault_rolled_back", detail=str(error), alert=True)
    except StorageError as error:
        log.error("mark_not_kept", detail=str(error), alert=True)
    else:
        return True
    return False


def _attend(resources: Resources, signing: SigningFolder) -> _Assessment:
    """Load the time from the vault, or from the signer's folder if the vault lost its marks; judge, and write a new
    anchor or doubt to the vault. If the vault cannot be read, the count is unchanged; if it cannot be written, the
    anchor is not changed.
    """
    clock, remembered = resources.clock, None
    try:
        time = read_time(resources.vault, clock.boot_id)
        remembered = time.boot
        clock.observe(time if time.knows_anything else rollback.time_by_signer(signing, clock.boot_id))
    except StorageError as error:
        log.error("mark_not_kept", detail=str(error), alert=True)
    with resources.database.reading() as connection:
        database = service_rows.get(connection).time
    judgement, boot, taking = clock.attend(database)
    if boot != remembered:
        try:
            write_boot_time(resources.vault, boot)
        except VaultUnavailable as error:
            log.error("mark_not_kept", detail=str(error), alert=True)
            boot, taking = clock.boot_time.doubting(boot), None
    clock.keep(boot)
    if taking:
        judgement = clock.judge()
    return _Assessment(judgement, boot, taking)


def _note(resources: Resources, assessment: _Assessment, vault_problem: str | None) -> str | None:
    """Record the judgement in the database. Its stored time stays unchanged while not trusted, as evidence. Return the
    vault's problem if only the scheduler of another host, which remembers more of it, finds one.
    """
    judgement, waited, boot_id = assessment.judgement, resources.clock.waited_seconds, resources.clock.boot_id
    if judgement.problem:
        log.error("clock_not_trusted", problem=judgement.problem, waited_seconds=int(waited), alert=True)
    with resources.database.writing() as transaction:
        connection, now = transaction.connection, judgement.now
        state = service_rows.get(connection)
        if assessment.taking:
            transaction.log(Entry(event=Event.CLOCK_ACCEPTED, at=now, actor="scheduler", outcome=assessment.taking))
        elif judgement.problem and state.clock_problem_of(boot_id) is None:
            transaction.log(Entry(event=Event.CLOCK_DISTRUSTED, at=now, actor="scheduler"))
        if judgement.problem is None:
            service_rows.keep_mark(connection, now)
            service_rows.keep_anchor(connection, assessment.boot.anchor)
        problems = service_rows.Problems(boot_id, judgement.problem, vault_problem, waited)
        service_rows.keep_problems(connection, problems)
        return service_rows.get(connection).vault_problem_of_another(boot_id)
