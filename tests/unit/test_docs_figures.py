"""Figures in prose are those of the code: lengths of time, sizes and limits, reasons and metrics."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime, timedelta

import pytest

from app.actions import prune_log, reconcile, report_retention, sign_checkpoint, sweep
from app.actions.measure import Measures
from app.crypto.password import PASSWORD_CHARS
from app.db import engine, service_rows
from app.domain import claim, clock, file_meta, purge_time, reconciled, retention, upload
from app.domain.errors import every_refusal
from app.domain.transfer import LIFETIME_CEILING, MAX_FREE_TEXT, MAX_NAME_BYTES, MAX_PATH_BYTES
from app.domain.transfer_list import MAX_PAGE
from app.lifecycle import gone, vault_watch
from app.lifecycle.deletion import TAKEN_FOR
from app.lifecycle.download import DOWNLOADS_AT_ONCE
from app.lifecycle.intake import LEASE
from app.lifecycle.rollback import REMEMBERED_EACH
from app.runtime.resources import CLAIMS_WAITING
from app.runtime.settings import LOGO_MAX_BYTES, Settings
from app.terminal import lockdown, serve
from app.web.audit_routes import MAX_ENTRIES
from app.web.limits import MAX_JSON_BYTES
from scheduler import timetable
from scheduler.metrics import ServiceCollector
from tests.unit.docs_tables import page, rows

NOW = datetime(2026, 3, 2, tzinfo=UTC)

_WORDS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "ten": 10, "twenty": 20, "thirty": 30}
_UNITS = {"second": "s", "minute": "min", "hour": "h", "day": "d"}


def blocks(text: str) -> list[str]:
    """The paragraphs, list items and table rows of a page, each on one line and in one spelling: figures as digits,
    units short, "a minute" and "each minute" as 1 min. So a sentence may be reworded, and its figure not.
    """
    pieces = re.split(r"\n\s*\n|\n(?=\||- |\d+\. )", text)
    return [_in_one_spelling(" ".join(piece.split())) for piece in pieces]


def _in_one_spelling(text: str) -> str:
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text.lower()).replace(" %", "%")
    text = re.sub(rf"\b({'|'.join(_WORDS)})\b", lambda word: str(_WORDS[word[0]]), text)
    text = re.sub(rf"\b({'|'.join(_UNITS)})s?\b", lambda unit: _UNITS[unit[1]], text)
    return re.sub(r"\b(?:an?|each|every) (s|min|h|d)\b", r"1 \1", text)


def says(text: str, figure: str, about: str) -> bool:
    """Whether one block of a page has this figure, and the word that says what it is of."""
    whole = re.compile(rf"(?<![\d.]){re.escape(figure)}(?![\w%])" if figure[-1] != "%" else re.escape(figure))
    return any(whole.search(block) and about in block for block in blocks(text))


def length(of: timedelta | float) -> str:
    """A length of time in its largest whole unit."""
    total = int(of.total_seconds() if isinstance(of, timedelta) else of)
    unit = next(name for name, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)) if total % size == 0)
    return f"{total // {'d': 86_400, 'h': 3600, 'min': 60, 's': 1}[unit]} {unit}"


def in_hours(of: timedelta) -> str:
    """The same in hours, where a day would be meant as one of running."""
    return f"{int(of.total_seconds()) // 3600} h"


def in_seconds(of: timedelta | float) -> str:
    """The same in seconds."""
    return f"{int(of.total_seconds() if isinstance(of, timedelta) else of)} s"


def kib(size: int) -> str:
    """A size in whole KiB."""
    return f"{size // 1024} kib"


def first_waits() -> str:
    """The first waits of the back-off."""
    waits = [int((retention.retry_at(NOW, failures) - NOW).total_seconds()) for failures in (1, 2, 3)]
    return ", ".join(f"{wait} s" for wait in waits)


DELETION = [
    (first_waits(), "tried again"),
    (length(retention.RETRY_CEILING), "tried again"),
    (length(retention.FORGET_AFTER), "recipients"),
    (length(sweep.BYTES_COUNT_AFTER), "succeeds"),
    (length(service_rows.LONG_GAP), "report"),
    (length(report_retention.GAPS_SHOWN), "report"),
    (length(clock.BELIEVED), "start"),
    (in_hours(clock.BELIEVED_AFTER_REBOOT), "reboot"),
    (length(clock.BELIEVED), "host's clock"),
    (in_seconds(clock.DATABASE_APART), "postgresql's clock"),
    (length(clock.STEADY_FOR), "paused"),
    (length(clock.STEADY_WITHIN), "paused"),
    (length(clock.PAUSES_AT_MOST), "paused"),
    (in_hours(clock.PAUSES_FORGOTTEN_AFTER), "paused"),
    (in_hours(clock.WAIT_BEFORE_TAKING), "`waited`"),
    (length(purge_time.KEPT_EACH), "purge-time"),
    (length(REMEMBERED_EACH), "vault-mark"),
    (str(reconcile.CEILING), "reconcile_needs_confirmation"),
    (f"{reconcile.CEILING_SHARE:.0%}", "reconcile_needs_confirmation"),
    (length(LEASE), "lease"),
    (length(TAKEN_FOR), "batch"),
    (in_seconds(engine.CONNECT_SECONDS), "connection"),
    (in_seconds(engine.LOCK_SECONDS), "lock"),
    (in_seconds(engine.STATEMENT_SECONDS), "statement"),
    (length(lockdown.UNDER_WAY_SECONDS), "under way"),
    (length(serve.RESTART_SECONDS), "scheduler_ended"),
    (in_seconds(vault_watch.READ_EVERY), "the sweeper reads"),
    (str(int(vault_watch.READ_AHEAD.total_seconds())), "the sweeper reads"),
    (str(gone.LARGE_BATCH), "listing"),
    (f"{gone.REST} times", "listing"),
    (str(report_retention.COMPARED), "caducee audit retention"),
    (length(reconciled.GOOD_FOR), "caducee audit retention"),
]
FIGURES = {
    "docs/deletion.md": DELETION,
    "docs/http-api.md": [
        (kib(MAX_JSON_BYTES), "json bodies"),
        (str(MAX_PAGE), "`limit`"),
        (kib(file_meta.MAX_JSON_BYTES), "caducee-sealed-meta"),
        (str(MAX_ENTRIES), "`limit`"),
        (length(claim.DELIVERED_WINDOW), "completed"),
        (f"{claim.ALLOWANCE_FACTOR} times", "files"),
        (f"{PASSWORD_CHARS} characters", "password"),
    ],
    "docs/protocol.md": [
        (kib(file_meta.MAX_JSON_BYTES), "metadata"),
        (f"{upload.CHECKED_PART_BYTES >> 20} mib", "upload-checksum"),
        (f"{MAX_NAME_BYTES} bytes", "`name`"),
        (f"{MAX_PATH_BYTES} bytes", "`path`"),
        (f"{MAX_FREE_TEXT} characters", "`recipient`"),
        (length(LEASE), "423"),
        (in_hours(upload.IDLE), "receives nothing"),
        (length(Settings().claim_window), "`caducee_claim_window`"),
        (length(Settings().stall_timeout), "acknowledged"),
        (f"{claim.ALLOWANCE_FACTOR} times", "served"),
        (f"{PASSWORD_CHARS} characters", "password"),
    ],
    "docs/security.md": [
        (kib(MAX_JSON_BYTES), "json"),
        (f"{serve.CONNECTIONS} connections", "network"),
        (f"queue of {CLAIMS_WAITING}", "password"),
        (f"t={Settings().argon2_time}", "argon2id"),
        (f"{Settings().argon2_memory_kib // 1024} mib", "argon2id"),
        (f"p={Settings().argon2_lanes}", "argon2id"),
        (length(clock.BELIEVED), "clock ahead"),
        (in_hours(clock.BELIEVED_AFTER_REBOOT), "clock ahead"),
    ],
    "docs/audit-log.md": [
        (length(timetable.CHECKPOINT_SECONDS), "tlog-checkpoint"),
        (length(sign_checkpoint.IDLE_INTERVAL), "tlog-checkpoint"),
        (length(prune_log.CHECKPOINTS_KEPT), "pruning"),
        (length(Settings().audit_retention), "caducee_audit_retention"),
        (str(LIFETIME_CEILING.days), "caducee_audit_retention"),
    ],
    "docs/operations.md": [(in_seconds(serve.WORKER_SILENCE_SECONDS), "replaced")],
    "docs/problems.md": [
        (f"{MAX_NAME_BYTES} bytes", "`invalid_file_name`"),
        (f"{DOWNLOADS_AT_ONCE} at once", "`busy`"),
        (length(LEASE), "`upload_unfinished`"),
    ],
    "docs/settings.md": [
        (length(LIFETIME_CEILING), "`caducee_max_lifetime`"),
        (kib(LOGO_MAX_BYTES), "`caducee_brand_logo`"),
    ],
    "docs/adr/0005-due-at.md": [(length(TAKEN_FOR), "postponed"), (length(TAKEN_FOR), "batch to another")],
    "docs/adr/0008-leases-for-uploads.md": [(length(LEASE), "`lease_until`")],
    "docs/adr/0014-reconciliation-counts-first.md": [
        (f"max({reconcile.CEILING}, {reconcile.CEILING_SHARE:.0%}", "orphans"),
        (str(reconcile.BATCH), "batches"),
    ],
    "docs/runbook.md": [
        (length(retention.RETRY_CEILING), "tried again"),
        (length(LEASE), "lease"),
        (in_hours(clock.WAIT_BEFORE_TAKING), "host clock"),
    ],
}


def test_reader_finds_a_figure_however_it_is_spelt():
    text = "Tried again\nwithin four minutes.\n\n| bodies | 1,000 KiB |\n- each hour, 1 %"
    for figure, about in [("4 min", "tried"), ("1000 kib", "bodies"), ("1 h", "%"), ("1%", "h")]:
        assert says(text, figure, about), figure


def test_reader_finds_no_figure_that_is_another_or_of_something_else():
    text = "Tried again within 14 minutes.\n\n| bodies | 64 KiB |"
    assert not says(text, "4 min", "tried")
    assert not says(text, "14 min", "bodies")
    assert not says(text, "4 kib", "bodies")


@pytest.mark.parametrize(
    ("name", "figure", "about"), [(name, *said) for name, every in FIGURES.items() for said in every]
)
def test_figures_in_prose_are_those_of_the_code(name: str, figure: str, about: str):
    """A figure must be changed in both places; the sentence around it may be reworded, but must contain `about`."""
    assert says(page(name), figure, about)


# --- readiness


def reasons_in(source: str) -> set[str]:
    """The codes of refusals that stand in a module as strings."""
    strings = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    return {kind.code for kind in every_refusal() if kind.code in strings}


def test_every_reason_not_to_be_ready_is_listed():
    listed = next(row for row in rows("docs/operations.md", "what") if row[0] == "readiness")[2]
    assert set(re.findall(r"`(\w+)`", listed)) == reasons_in(page("app/actions/check_readiness.py")) | {"log_forged"}, (
        "which refuses no request"
    )


# --- metrics

NOTHING = Measures(
    transfers={},
    oldest_age_s=0,
    overdue=0,
    failing=0,
    since_sweep_s=None,
    deletion_assured=True,
    clock_trusted=True,
    vault_trusted=True,
    log_trusted=True,
    separate_users=False,
    locked_down=False,
    intake_off=False,
    reserve_in_place=True,
    tokens_ending_soon=0,
    counters={},
)


def metrics() -> set[str]:
    """The names of all metrics, as Prometheus shows them."""
    families = list(ServiceCollector(lambda: NOTHING).collect())
    return {family.name + ("_total" if family.type == "counter" else "") for family in families}


def test_every_metric_is_listed_and_no_other():
    listed = " ".join(row[0] for row in rows("docs/operations.md", "metric"))
    assert set(re.findall(r"caducee_\w+", listed)) == metrics()


def test_rules_ask_for_metrics_that_there_are():
    asked = set(
        re.findall(r"\bcaducee_[a-z_]+", page("docs/operations.md").partition("```yaml")[2].partition("```")[0])
    )
    assert len(asked) > 5
    assert {name.removesuffix("_bucket") for name in asked} - metrics() == set()
