"""Report for load balancers and operators whether the service is ready, and if not, why."""

from __future__ import annotations

from collections.abc import Callable

from app.db import service_rows
from app.db.errors import DatabaseUnavailable
from app.domain.retention import deletion_is_assured
from app.lifecycle.gate import doubts_of
from app.runtime.resources import Resources
from app.storage.errors import StorageError


def check_readiness(resources: Resources) -> list[str]:
    """Return the problem codes; empty when the service is ready."""
    reasons = []
    try:
        with resources.database.reading() as connection:
            state = service_rows.get(connection)
        doubts = doubts_of(resources, state)
        if doubts.rolled_back_at is not None:
            reasons.append("database_rolled_back")
        if doubts.locked_down_at is not None:
            reasons.append("locked_down")
        if doubts.vault_problem is not None:
            reasons.append("vault_rolled_back")
        if doubts.clock_problem is not None:
            reasons.append("clock_not_trusted")
        if not deletion_is_assured(state.last_sweep_at, resources.clock.now(), resources.settings.deadman):
            reasons.append("retention_not_assured")
        installation = state.installation_id
    except DatabaseUnavailable:
        return ["database_unavailable"]
    if not _same(resources.vault.installation, installation):
        reasons.append("vault_unavailable")
    if not _same(resources.blobs.installation, installation):
        reasons.append("blobs_unavailable")
    elif _nearly_full(resources):
        reasons.append("disk_nearly_full")
    return reasons


def _nearly_full(resources: Resources) -> bool:
    try:
        return resources.blobs.free_bytes() < resources.settings.min_free_bytes
    except StorageError:
        return True


def _same(read: Callable[[], str | None], installation: str) -> bool:
    try:
        return read() == installation
    except StorageError:
        return False
