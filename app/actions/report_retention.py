"""Report whether everything due has been deleted, and whether that can be proved.

Read-only. Unprovable (exit code 2) outranks overdue (1), which outranks clean (0). The database is not trusted: if it
holds at most COMPARED transfers, all rows are compared with the log and the vault; otherwise the report uses the result
of the last reconciliation, which the vault stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice

from app.db import audit_size, counter_rows, retention_figures, service_rows, transfer_rows
from app.domain.evidence import NO_EVIDENCE, Evidence
from app.domain.finding import Finding, Level
from app.domain.reconciled import Contradiction
from app.domain.retention import deletion_is_assured
from app.lifecycle.evidence import evidence_of
from app.lifecycle.gate import doubts_of, forged_log
from app.lifecycle.rollback import (
    DatabaseRolledBack,
    VaultRolledBack,
    require_not_rolled_back,
    require_vault_not_rolled_back,
)
from app.lifecycle.witnesses import compare_everything
from app.runtime.resources import Resources
from app.storage.errors import StorageError
from app.storage.signing_folder import SigningFolder
from app.storage.vault_marks import read_reconciled

SLACK = timedelta(seconds=5)
"""Time for a sweep, which runs every second; transfers due for less than this are not overdue."""

GAPS_SHOWN = timedelta(days=30)
FAILING_SHOWN = 100
STRANGERS_SHOWN = 100
COMPARED = 10_000
"""Up to this many held transfers are compared for a report; reconciliation, which has an hour, compares any number."""

LOG_COMPARED = 500_000
"""A log of at most this many entries is searched for transfers without a row; only reconciliation searches longer
ones.
"""


class Wrong(StrEnum):
    """What a report can find wrong."""

    OVERDUE = "overdue"
    ORPHANED = "orphaned"
    CONTRADICTED = "contradicted"
    STRANGE = "strange"


@dataclass(frozen=True, slots=True)
class VaultFindings:
    """Numbers of expired keys and past hours in the vault, and why the vault cannot be read or trusted, if so."""

    keys_past_due: int | None
    hours_past_due: int | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Contradictions of the rows: `found` in total, the first ones in `contradictions`. `compared_at` is None if
    unknown. `hidden_ends` transfers have ended according to the log but not their rows. `strangers` are files in the
    vault with unrecognised names.
    """

    compared_at: datetime | None = None
    found: int = 0
    contradictions: list[Contradiction] = field(default_factory=list)
    hidden_ends: int = 0
    strangers: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """Transfers held and overdue, and whether the sweeper works. Lateness in seconds; gaps as (from, to);
    `lateness_by_day` as (day, deletions, worst lateness). `rolled_back`: how the database differs from the vault's
    mark, or None. `log_forged`: what the signer refuses to sign, or None.
    """

    at: datetime
    transfers: dict[str, int]
    ages_by_day: list[int]
    overdue: int
    worst_lateness_s: int
    failing: list[str]
    vault: VaultFindings
    rolled_back: str | None
    orphans: int | None
    last_sweep_at: datetime | None
    sweeping: bool
    gaps: list[tuple[datetime, datetime]]
    lateness: dict[str, int]
    lateness_by_day: list[tuple[datetime, int, float]]
    clock_problem: str | None
    locked_down_at: datetime | None
    last_drill_at: datetime | None
    log_forged: str | None = None
    witnesses: Witnesses = field(default_factory=Witnesses)
    evidence: Evidence = NO_EVIDENCE

    @property
    def exit_code(self) -> int:
        """0 if clean, 1 if anything is overdue, orphaned or contradicted, 2 if that cannot be proved."""
        unknown = self.vault.problem or self.rolled_back or self.clock_problem or self.log_forged
        if not self.sweeping or self.orphans is None or unknown or self.witnesses.compared_at is None:
            return 2
        return 1 if self.wrong else 0

    @property
    def wrong(self) -> list[Wrong]:
        """What was found wrong, as far as it could be examined."""
        overdue = (self.overdue, self.failing, self.vault.keys_past_due, self.vault.hours_past_due)
        found = {
            Wrong.OVERDUE: any(overdue),
            Wrong.ORPHANED: bool(self.orphans),
            Wrong.CONTRADICTED: bool(self.witnesses.found),
            Wrong.STRANGE: bool(self.witnesses.strangers),
        }
        return [each for each, is_so in found.items() if is_so]


def report_retention(resources: Resources, *, orphans: int | None) -> RetentionReport:
    """Build the report from the database and the vault separately. `orphans`: their number, None if unknown."""
    now = resources.clock.now()
    vault, rolled_back = _vault_findings(resources, now - SLACK), _rolled_back(resources)
    witnesses, evidence = _witnesses(resources, now), evidence_of(resources)
    with resources.database.reading() as connection:
        state = service_rows.get(connection)
        overdue, oldest = retention_figures.overdue(connection, now - SLACK)
        return RetentionReport(
            at=now,
            transfers=retention_figures.count_by_state(connection),
            ages_by_day=retention_figures.held_by_age(connection, now, resources.settings.max_lifetime.days + 1),
            overdue=overdue + witnesses.hidden_ends,
            worst_lateness_s=int((now - oldest).total_seconds()) if oldest else 0,
            failing=retention_figures.failing(connection, FAILING_SHOWN),
            vault=vault,
            rolled_back=rolled_back,
            orphans=orphans,
            last_sweep_at=state.last_sweep_at,
            sweeping=deletion_is_assured(state.last_sweep_at, now, resources.settings.deadman),
            gaps=service_rows.gaps_since(connection, now - GAPS_SHOWN),
            lateness={n: c for n, c in counter_rows.every(connection).items() if n.startswith("lateness_")},
            lateness_by_day=retention_figures.lateness_by_day(connection, now - GAPS_SHOWN),
            clock_problem=doubts_of(resources, state).clock_problem,
            locked_down_at=state.locked_down_at,
            last_drill_at=state.last_drill_at,
            log_forged=forged_log(resources),
            witnesses=witnesses,
            evidence=evidence,
        )


def findings_of(report: RetentionReport) -> Iterator[Finding]:
    """Yield, for `caducee doctor`, why the report's exit code is not 0, apart from what `examine` names by itself."""
    if report.rolled_back:
        yield Finding(Level.WRONG, "rollback", report.rolled_back, "docs/runbook.md, database_rolled_back")
    counts = {
        "transfers overdue": report.overdue,
        "deletions failing": len(report.failing),
        "keys past due": report.vault.keys_past_due or 0,
        "hours past due": report.vault.hours_past_due or 0,
        "rows contradicted": report.witnesses.found,
        "unknown files in the vault": len(report.witnesses.strangers),
    }
    wrong = ", ".join(f"{what}: {count}" for what, count in counts.items() if count)
    if wrong:
        yield Finding(Level.WRONG, "retention", wrong, "caducee audit retention shows which")
    elif report.witnesses.compared_at is None:
        said = "no recent comparison of the rows with the log and the vault"
        yield Finding(Level.WRONG, "retention", said, "caducee doctor --reconcile")
    else:
        yield Finding(Level.GOOD, "retention", "nothing is overdue, and no row is contradicted")


def _vault_findings(resources: Resources, due: datetime) -> VaultFindings:
    try:
        keys = sum(name.expires_at <= due for name in resources.vault.names())
        hours = resources.vault.ended_hours(due)
        require_vault_not_rolled_back(resources.vault, SigningFolder(resources.settings.signing_dir))
    except VaultRolledBack as error:
        return VaultFindings(keys, hours, str(error))
    except StorageError as error:
        return VaultFindings(None, None, str(error))
    return VaultFindings(keys, hours)


def _witnesses(resources: Resources, now: datetime) -> Witnesses:
    """Compare everything or, with too many transfers, return the result of a recent reconciliation."""
    try:
        strangers = list(islice(resources.vault.strangers(), STRANGERS_SHOWN))
        with resources.database.reading() as connection:
            held = transfer_rows.count_held(connection, COMPARED + 1)
            ended = transfer_rows.count_listed(connection, COMPARED + 1)
            short = audit_size.size(connection) <= LOG_COMPARED
        last = read_reconciled(resources.vault)
        if held <= COMPARED:
            compared = compare_everything(resources, verified_too=ended <= COMPARED, lost_too=short, due=now - SLACK)
            if not short and last is not None and last.is_good(now):
                for each in last.contradictions:
                    compared.add({each.word} & {"row_missing"}, each.transfer)
            return Witnesses(now, compared.found, compared.shown, len(compared.hidden_ends), strangers)
    except StorageError:
        return Witnesses()
    if last is None or not last.is_good(now):
        return Witnesses(strangers=strangers)
    return Witnesses(last.at, last.found, last.contradictions, 0, strangers)


def _rolled_back(resources: Resources) -> str | None:
    try:
        require_not_rolled_back(resources)
    except (DatabaseRolledBack, StorageError) as error:
        return str(error)
    return None
