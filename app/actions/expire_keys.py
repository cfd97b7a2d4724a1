"""The vault's own purge (G1): what is past its second goes, without asking the database or the sweeper."""

from __future__ import annotations

from datetime import datetime

import structlog

from app.storage.key_vault import KeyVault, PurgeReport

log = structlog.get_logger()


def expire_keys(vault: KeyVault, now: datetime) -> PurgeReport:
    """Remove every key past its expiry, and the hour keys of hours that have ended. Raises VaultUnavailable."""
    report = vault.purge(now)
    if report.failed or report.due_left:
        log.error("keys_not_expired", failed=len(report.failed), due_left=report.due_left, alert=True)
    return report
