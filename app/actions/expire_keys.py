"""The vault's own purge (G1): what is past its second goes, without asking the database or the sweeper.

The time comes from the vault's own memory and the boot clock, so that a host's clock set a year ahead destroys nothing.
Where no sweeper keeps that memory fresh, the purge does. A clock that is not believed is accepted after 24 h of
running, as by the sweeper: destruction must not wait for ever.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from app.domain.clock import WAIT_FOR_ACCEPTANCE, Clock, Judgement
from app.domain.purge_time import PurgeTime
from app.storage.errors import VaultUnavailable
from app.storage.key_vault import KeyVault, PurgeReport
from app.storage.vault_marks import read_high_water, read_purge_time, write_purge_time

log = structlog.get_logger()


def expire_keys(vault: KeyVault, clock: Clock) -> PurgeReport:
    """Remove every key past its expiry, and the hour keys of hours that have ended. Raises VaultUnavailable."""
    remembered = _remember(vault, clock)
    time = _judge(clock, remembered)
    report = vault.purge(time.at)
    if report.failed or report.due_left:
        log.error("keys_not_expired", failed=len(report.failed), due_left=report.due_left, alert=True)
    if remembered is None or time.is_news(remembered):
        _keep(vault, time)
    return report


def _remember(vault: KeyVault, clock: Clock) -> PurgeTime | None:
    """Go on from the later of the two times that the vault remembers. One that cannot be read is loud, and holds up no
    expiry as long as there is another, or a clock that runs on from one: only the host's word alone is not enough.
    """
    found: list[PurgeTime] = []
    unreadable: VaultUnavailable | None = None
    reads: tuple[Callable[[KeyVault], PurgeTime | None], ...] = (read_purge_time, _sweepers_time)
    for read in reads:
        try:
            remembered = read(vault)
        except VaultUnavailable as error:
            log.error("mark_not_kept", detail=str(error), alert=True)
            unreadable = error
        else:
            found += [remembered] if remembered else []
    if unreadable is not None and not found and not clock.has_observed:
        raise unreadable
    latest = max(found, key=lambda time: time.at, default=None)  # its own, if both stand at one moment
    if latest is not None:
        clock.observe(mark=latest.at, anchor=latest.anchor)
    return latest


def _sweepers_time(vault: KeyVault) -> PurgeTime | None:
    remembered = read_high_water(vault)
    return PurgeTime(remembered.at, remembered.anchor) if remembered else None


def _judge(clock: Clock, remembered: PurgeTime | None) -> PurgeTime:
    judgement: Judgement = clock.judge()
    time = remembered.after(judgement) if remembered else PurgeTime(judgement.now, judgement.anchor)
    if time.waited_seconds is None:
        return time
    waited = int(time.waited_seconds)
    log.error("clock_not_trusted", problem=judgement.problem, waited_seconds=waited, alert=True)
    if waited < WAIT_FOR_ACCEPTANCE.total_seconds():
        return time
    accepted = clock.accept()
    log.warning("clock_accepted", waited_seconds=waited)
    return PurgeTime(accepted.now, accepted.anchor)


def _keep(vault: KeyVault, time: PurgeTime) -> None:
    """For the next purge; a vault that cannot keep it has still been purged."""
    try:
        write_purge_time(vault, time)
    except VaultUnavailable as error:
        log.error("mark_not_kept", detail=str(error), alert=True)
