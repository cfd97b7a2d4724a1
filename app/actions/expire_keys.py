"""The vault's own purge (G1): what is past its second goes, without asking the database or the sweeper.

The time comes from the vault's own memory and the boot clock, so that a host's clock set a year ahead destroys nothing.
"""

from __future__ import annotations

import structlog

from app.domain.clock import Clock
from app.storage.errors import VaultUnavailable
from app.storage.high_water_mark import read_high_water
from app.storage.key_vault import KeyVault, PurgeReport

log = structlog.get_logger()


def expire_keys(vault: KeyVault, clock: Clock) -> PurgeReport:
    """Remove every key past its expiry, and the hour keys of hours that have ended. Raises VaultUnavailable."""
    _remember(vault, clock)
    judgement = clock.judge()
    if judgement.problem:
        log.error("clock_not_trusted", problem=judgement.problem, alert=True)
    report = vault.purge(judgement.now)
    if report.failed or report.due_left:
        log.error("keys_not_expired", failed=len(report.failed), due_left=report.due_left, alert=True)
    return report


def _remember(vault: KeyVault, clock: Clock) -> None:
    """Take the time over from the vault's memory. One that cannot be read is loud, but holds up no expiry."""
    try:
        remembered = read_high_water(vault)
    except VaultUnavailable as error:
        log.error("mark_not_kept", error=str(error), alert=True)
        return
    if remembered is not None:
        clock.observe(mark=remembered.at, anchor=remembered.anchor)
