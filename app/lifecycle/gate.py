"""Checks before any intake or outflow, run inside the transaction that acts on the result."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection

from app.db import service_rows
from app.db.service_rows import ServiceState
from app.domain.admission import Doubts, require_intake, require_outflow
from app.domain.errors import DiskNearlyFull, IntakeOff
from app.runtime.resources import Resources
from app.storage.errors import StorageError, VaultUnavailable
from app.storage.signing_folder import SigningFolder

MARK_LOST = "the key vault has lost its high-water mark"


def require_open_for_transfers(resources: Resources, connection: Connection) -> None:
    """Check before a new transfer. Raises IntakeOff, and as `require_open_for_intake`; DiskNearlyFull also if the vault
    has room only for its marks and the records of claims.
    """
    if require_open_for_intake(resources, connection).intake_off_at is not None:
        raise IntakeOff
    with suppress(VaultUnavailable):  # its entry cannot be made, which is refused with the right code
        if not resources.vault.has_room():
            raise DiskNearlyFull


def require_open_for_intake(resources: Resources, connection: Connection) -> ServiceState:
    """Return the service's row. Raises RestoreNotAccepted, LockedDown, VaultNotTrusted, ClockNotTrusted,
    RetentionNotAssured; DiskNearlyFull if the database's volume has room only for deletion.
    """
    state = service_rows.get(connection)
    require_intake(
        doubts_of(resources, state),
        last_sweep_at=state.last_sweep_at,
        now=resources.clock.now(),
        deadman=resources.settings.deadman,
    )
    if not resources.database.reserve.has_room():
        raise DiskNearlyFull
    return state


def require_open_for_outflow(resources: Resources, connection: Connection) -> None:
    """Raise RestoreNotAccepted, LockedDown, VaultNotTrusted or ClockNotTrusted if one applies."""
    require_outflow(doubts_of(resources, service_rows.get(connection)))


def doubts_of(resources: Resources, state: ServiceState) -> Doubts:
    """Return the reasons to refuse service, as recorded by the sweeper and as seen by this process."""
    resources.vault_time.refresh()
    return Doubts(
        rolled_back_at=state.rolled_back_at,
        locked_down_at=state.locked_down_at,
        vault_problem=state.vault_problem or (None if resources.vault_time.marked else MARK_LOST),
        clock_problem=state.clock_problem_of(resources.clock.boot_id) or resources.clock.judge(state.time).problem,
    )


def forged_log(resources: Resources) -> str | None:
    """Return why the signer refuses to sign the log as forged, or None. An unreadable answer is none: it is returned
    as a reason.
    """
    try:
        forged = SigningFolder(resources.settings.signing_dir).forged()
    except StorageError as error:
        return str(error)
    return f"log_forged: {forged}" if forged is not None else None
