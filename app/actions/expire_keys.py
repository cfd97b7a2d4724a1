"""The vault's own purge (G1): remove expired keys without consulting the database or the sweeper.

The time comes from the boot clock and the vault's marks, so neither a host clock set a year ahead nor a change to the
database can destroy keys early or delay their destruction. If no sweeper keeps the marks current, the purge does: it
accepts the host's clock by the sweeper's rules but a little later, so that a running sweeper does it first and logs it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import structlog

from app.domain.clock import RememberedTime
from app.domain.purge_time import PurgeTime
from app.runtime.clock import Clock
from app.storage.errors import VaultUnavailable
from app.storage.key_vault import KeyVault, PurgeReport
from app.storage.vault_marks import read_time, write_boot_time, write_purge_time

TAKES_LATER_BY = timedelta(minutes=1)

log = structlog.get_logger()


def expire_keys(vault: KeyVault, clock: Clock) -> PurgeReport:
    """Remove every expired key and the hour keys of past hours. Raises VaultUnavailable."""
    remembered = _observe(vault, clock)
    _attend(vault, clock, remembered)
    now = clock.now()
    report = vault.purge(now)
    if report.failed or report.due_left:
        log.error("keys_not_expired", failed=len(report.failed), due_left=report.due_left, alert=True)
    time = PurgeTime(now, clock.boot_time.anchor)
    if time.is_news(remembered.mark):
        _keep(lambda: write_purge_time(vault, time))
    return report


def _observe(vault: KeyVault, clock: Clock) -> RememberedTime:
    """Load the time from the vault's marks. An unreadable mark raises an alert, and does not delay expiry if another
    mark remains or an earlier mark bounded the count; the host's clock alone is not sufficient.
    """
    try:
        remembered = read_time(vault, clock.boot_id, unreadable=_loud)
    except VaultUnavailable:
        if not clock.has_observed:
            raise
        return RememberedTime()
    clock.observe(remembered)
    return remembered


def _attend(vault: KeyVault, clock: Clock, remembered: RememberedTime) -> None:
    """Judge the host's clock and write a new anchor or doubt to the vault. If that fails, the doubt is kept in memory
    and the host's clock is not accepted.
    """
    judgement, boot, taking = clock.attend(grace=TAKES_LATER_BY)
    if judgement.problem:
        log.error("clock_not_trusted", problem=judgement.problem, alert=True)
    if boot != remembered.boot and not _keep(lambda: write_boot_time(vault, boot)):
        boot, taking = clock.boot_time.doubting(boot), None
    clock.keep(boot)
    if taking:
        log.error("clock_accepted", outcome=taking, alert=True)


def _keep(write: Callable[[], None]) -> bool:
    """Run `write`; return False and alert if the vault fails. The purge continues either way."""
    try:
        write()
    except VaultUnavailable as error:
        _loud(error)
        return False
    return True


def _loud(error: VaultUnavailable) -> None:
    log.error("mark_not_kept", detail=str(error), alert=True)
