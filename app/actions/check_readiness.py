"""Report for load balancers and operators whether the service is ready, and if not, why."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from app.db import service_rows
from app.db.errors import DatabaseUnavailable
from app.db.service_rows import ServiceState
from app.domain.retention import deletion_is_assured
from app.lifecycle.gate import doubts_of, forged_log
from app.runtime.resources import Resources
from app.storage.errors import StorageError

STILL_READY = frozenset({"intake_off"})
"""Reported, but no failure: an operator chose it, and everything else goes on."""


def check_readiness(resources: Resources) -> list[str]:
    """Return the problem codes; empty, or some of STILL_READY, when the service is ready."""
    try:
        with resources.database.reading() as connection:
            state = service_rows.get(connection)
        reasons = list(_of_state(resources, state))
    except DatabaseUnavailable:
        return ["database_unavailable"]
    if not _same(resources.vault.installation, state.installation_id):
        reasons.append("vault_unavailable")
    blobs_there = _same(resources.blobs.installation, state.installation_id)
    if not blobs_there:
        reasons.append("blobs_unavailable")
    if _no_room(resources) or (blobs_there and _nearly_full(resources)):
        reasons.append("disk_nearly_full")
    return reasons


def _of_state(resources: Resources, state: ServiceState) -> Iterator[str]:
    doubts = doubts_of(resources, state)
    if doubts.rolled_back_at is not None:
        yield "database_rolled_back"
    if doubts.locked_down_at is not None:
        yield "locked_down"
    if doubts.vault_problem is not None:
        yield "vault_rolled_back"
    if doubts.clock_problem is not None:
        yield "clock_not_trusted"
    if forged_log(resources) is not None:
        yield "log_forged"
    if not deletion_is_assured(state.last_sweep_at, resources.clock.now(), resources.settings.deadman):
        yield "retention_not_assured"
    if state.intake_off_at is not None:
        yield "intake_off"


def _no_room(resources: Resources) -> bool:
    """Whether the volume of the database or the vault is nearly full."""
    try:
        return not (resources.database.reserve.has_room() and resources.vault.has_room())
    except StorageError:  # `vault_unavailable`
        return False


def _nearly_full(resources: Resources) -> bool:
    try:
        free = resources.blobs.free_bytes()
    except StorageError:
        return True
    return free is not None and free < resources.settings.min_free_bytes


def _same(read: Callable[[], str | None], installation: str) -> bool:
    try:
        return read() == installation
    except StorageError:
        return False
