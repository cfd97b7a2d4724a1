"""The periodic jobs: sweep, the vault's own purge, checkpoint signing, reconciliation, pruning of the log, the reserve.

The sweep works from the database, the purge only from the vault (G1): either one destroys keys in time. A job never
overlaps with itself; after missed runs it runs once. The purge has its own thread, because all others may block on an
unresponsive database.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from app.actions.end_due_sessions import end_due_sessions
from app.actions.expire_keys import expire_keys
from app.actions.keep_time import keep_time_or_alert
from app.actions.measure import Measures, measure
from app.actions.prune_log import prune_log
from app.actions.reconcile import reconcile
from app.actions.sign_checkpoint import sign_checkpoint
from app.actions.sweep import sweep
from app.lifecycle import repetition
from app.lifecycle.forged_entries import begin_record
from app.lifecycle.gone import ListingPace
from app.lifecycle.signer import alert_if_unsigned
from app.lifecycle.vault_watch import VaultWatch
from app.runtime.clock import Clock
from app.runtime.installation import open_resources
from app.runtime.resources import Resources
from app.runtime.settings import Settings
from app.runtime.stores import key_vault_of
from app.storage.shared_vault import make_hours
from app.storage.signing_folder import SigningFolder
from scheduler.metrics import serve_metrics

SWEEP_SECONDS = 1
PURGE_SECONDS = 1
CHECKPOINT_SECONDS = 300
RECONCILE_SECONDS = 3600
PRUNE_SECONDS = 86_400
RESERVE_SECONDS = 60
SESSIONS_SECONDS = 60
HOURS_SECONDS = 60
PURGE_ALONE = "purge"

log = structlog.get_logger()


class Timetable:
    """The jobs of one scheduler process."""

    def __init__(self, settings: Settings) -> None:
        """Register the jobs; `run` starts them."""
        self._settings = settings
        self._vault = key_vault_of(settings)
        self._clock = Clock()
        self._watch = VaultWatch(ListingPace())
        self._signing = SigningFolder(settings.signing_dir)
        self._opened: Resources | None = None
        self._opening = threading.Lock()
        defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        executors = {"default": ThreadPoolExecutor(4), PURGE_ALONE: ThreadPoolExecutor(1)}
        self._scheduler = BackgroundScheduler(timezone="UTC", executors=executors, job_defaults=defaults)
        for job, seconds in (
            (self.sweep, SWEEP_SECONDS),
            (self.purge, PURGE_SECONDS),
            (self.sign, CHECKPOINT_SECONDS),
            (self.reconcile, RECONCILE_SECONDS),
            (self.prune, PRUNE_SECONDS),
            (self.keep_reserve, RESERVE_SECONDS),
            (self.end_sessions, SESSIONS_SECONDS),
            *([(self.hours, HOURS_SECONDS)] if settings.separate_users else []),
        ):
            executor = PURGE_ALONE if job == self.purge else "default"
            self._scheduler.add_job(_loud(job), "interval", seconds=seconds, executor=executor)

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set; a running job is finished."""
        self._scheduler.start()
        ahead = [self.hours] if self._settings.separate_users else []
        for job in (*ahead, self.metrics, self.keep_reserve, self.sign, self.reconcile, self.prune):
            _loud(job)()
        stop.wait()
        self._scheduler.shutdown(wait=True)
        self._vault.close()
        if self._opened is not None:
            self._opened.close()

    def sweep(self) -> None:
        """Check the clock, end and delete what is due, and sign a checkpoint right after a deletion."""
        assured = keep_time_or_alert(self._resources())
        report = asyncio.run(sweep(self._resources(), assured=assured, watch=self._watch))
        if report.ended or report.deleted or report.failed:
            log.info("sweep", ended=report.ended, deleted=report.deleted, failed=report.failed)
        if report.deleted and self._settings.sign_log:
            self.sign()

    def reconcile(self) -> None:
        """Destroy orphaned blobs, keys and rows, and forget old idempotency keys."""
        reconcile(self._resources())
        repetition.forget(self._resources())

    def prune(self) -> None:
        """Remove the content of log entries older than the log's retention."""
        moved = prune_log(self._resources(), actor="scheduler")
        if moved:
            log.info("log_pruned", entries=moved)

    def keep_reserve(self) -> None:
        """Make the reserve on the database's volume again once there is room for it."""
        self._resources().database.reserve.make()

    def end_sessions(self) -> None:
        """End sessions that are over, and forget those that ended long ago."""
        end_due_sessions(self._resources())

    def purge(self) -> None:
        """Destroy every expired key in the vault; needs neither database nor blobs."""
        expire_keys(self._vault, self._clock)

    def hours(self) -> None:
        """Make the folders of the coming hours in the vault, where only the scheduler may."""
        resources = self._resources()
        if self._settings.vault_dir is not None:
            make_hours(self._settings.vault_dir, resources.clock.now())

    def sign(self) -> None:
        """Sign the current log; where another host does, check that it has."""
        if self._settings.sign_log:
            sign_checkpoint(self._resources(), self._signing)
        else:
            alert_if_unsigned(self._resources())

    def metrics(self) -> None:
        """Serve `/metrics` if a bind is set. A port in use is logged and does not stop deletion."""
        if self._settings.metrics_bind:
            serve_metrics(self._settings.metrics_bind, self.measure)

    def measure(self) -> Measures:
        """Return the measurements for one scrape of `/metrics`."""
        return measure(self._resources())

    def _resources(self) -> Resources:
        """Return the stores, opening them on first use. A job that cannot open them fails; the purge needs none."""
        with self._opening:
            if self._opened is None:
                opened = open_resources(self._settings, create=self._settings.separate_users)
                begin_record(opened)
                self._opened = opened
            return self._opened


def _loud(job: Callable[[], None]) -> Callable[[], None]:
    """Wrap a job so that a failure is logged as an alert; the job runs again on schedule, and others are unaffected."""

    def run() -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - no failure of a job may stop the timetable
            log.error("job_failed", job=job.__name__, error=type(error).__name__, detail=str(error), alert=True)

    return run
