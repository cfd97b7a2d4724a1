"""What runs when: the sweep, the vault's own purge, the signing of checkpoints, reconciliation, and pruning of the log.

The sweep goes by the database, the purge by the vault alone (G1): either alone destroys keys in time. Jobs never
overlap with themselves; one that is late runs once, not as often as it was missed. The purge has a thread of its own:
the others' may all hang on a database that does not answer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from app.actions.expire_keys import expire_keys
from app.actions.keep_time import keep_time_or_alert
from app.actions.measure import Measures, measure
from app.actions.prune_log import prune_log
from app.actions.reconcile import reconcile
from app.actions.sign_checkpoint import sign_checkpoint
from app.actions.sweep import sweep
from app.lifecycle.gone import ListingPace
from app.lifecycle.vault_watch import VaultWatch
from app.runtime.clock import Clock
from app.runtime.installation import open_resources
from app.runtime.resources import Resources
from app.runtime.settings import Settings
from app.storage.signing_folder import SigningFolder
from app.storage.vault_folder import VaultFolder
from scheduler.metrics import serve_metrics

SWEEP_SECONDS = 1
PURGE_SECONDS = 1
CHECKPOINT_SECONDS = 300
RECONCILE_SECONDS = 3600
PRUNE_SECONDS = 86_400
PURGE_ALONE = "purge"

log = structlog.get_logger()


class Timetable:
    """The jobs of one scheduler process."""

    def __init__(self, settings: Settings) -> None:
        """Plan the jobs; `run` starts them."""
        self._settings = settings
        self._vault = VaultFolder(settings.vault_dir)
        self._clock = Clock()
        self._watch = VaultWatch(ListingPace())
        self._signing = SigningFolder(settings.signing_dir)
        self._opened: Resources | None = None
        self._opening = threading.Lock()
        self._signing_now = threading.Lock()
        defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        executors = {"default": ThreadPoolExecutor(4), PURGE_ALONE: ThreadPoolExecutor(1)}
        self._scheduler = BackgroundScheduler(timezone="UTC", executors=executors, job_defaults=defaults)
        for job, seconds in (
            (self.sweep, SWEEP_SECONDS),
            (self.purge, PURGE_SECONDS),
            (self.sign, CHECKPOINT_SECONDS),
            (self.reconcile, RECONCILE_SECONDS),
            (self.prune, PRUNE_SECONDS),
        ):
            executor = PURGE_ALONE if job == self.purge else "default"
            self._scheduler.add_job(_loud(job), "interval", seconds=seconds, executor=executor)

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set; a job under way is finished."""
        self._scheduler.start()
        for job in (self.metrics, self.sign, self.reconcile, self.prune):
            _loud(job)()
        stop.wait()
        self._scheduler.shutdown(wait=True)
        if self._opened is not None:
            self._opened.close()

    def sweep(self) -> None:
        """Judge the clock; end and delete what is due; have a deletion signed at once."""
        assured = keep_time_or_alert(self._resources())
        report = asyncio.run(sweep(self._resources(), assured=assured, watch=self._watch))
        if report.ended or report.deleted or report.failed:
            log.info("sweep", ended=report.ended, deleted=report.deleted, failed=report.failed)
        if report.deleted:
            self.sign()

    def reconcile(self) -> None:
        """Destroy what belongs to nothing."""
        reconcile(self._resources())

    def prune(self) -> None:
        """Let entries older than the log's retention lose their content."""
        moved = prune_log(self._resources(), actor="scheduler")
        if moved:
            log.info("log_pruned", entries=moved)

    def purge(self) -> None:
        """The vault's own end of every key: neither database nor blobs need to be there."""
        expire_keys(self._vault, self._clock)

    def sign(self) -> None:
        """Sign the log as it is; one at a time, so that the checkpoint kept is never an older one."""
        with self._signing_now:
            sign_checkpoint(self._resources(), self._signing)

    def metrics(self) -> None:
        """Serve `/metrics`, if a bind is set. Deletion does not wait for it: a taken port is loud, and nothing more."""
        if self._settings.metrics_bind:
            serve_metrics(self._settings.metrics_bind, self.measure)

    def measure(self) -> Measures:
        """For each scrape of `/metrics`."""
        return measure(self._resources())

    def _resources(self) -> Resources:
        """The stores, opened by the first job that needs them and finds them; until then only the purge works."""
        with self._opening:
            if self._opened is None:
                self._opened = open_resources(self._settings)
            return self._opened


def _loud(job: Callable[[], None]) -> Callable[[], None]:
    """A job that fails is logged and runs again at its next time; it never takes the others with it."""

    def run() -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - whatever it is, the timetable goes on
            log.error("job_failed", job=job.__name__, error=type(error).__name__, detail=str(error), alert=True)

    return run
