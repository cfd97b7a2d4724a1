"""The report that proves deletion, or says that it cannot: its exit code, its figures, its page."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from app.actions.keep_time import keep_time
from app.actions.report_retention import RetentionReport, VaultFindings, report_retention
from app.actions.withdraw_share import withdraw_share
from app.crypto.token import new_id, new_secret
from app.domain.retention import FORGET_AFTER
from app.domain.vault_entry import EntryName
from app.reports.retention import retention_page
from app.storage.errors import BlobUnavailable
from app.storage.local_disk import LocalDisk
from app.storage.vault_folder import VaultFolder
from app.storage.vault_marks import read_high_water
from tests.integration.actions.stories import a_transfer, out_of_reach, send, share_row, sweep, transfer_row

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def report(resources):
    return lambda: report_retention(resources, orphans=0)


# Exit codes


def test_clean_is_0(resources, caller, time, report):
    sent = send(resources, caller, lifetime=HOUR)
    assert report().exit_code == 0
    time.pass_until(sent.transfer.expires_at + 3 * SECOND)
    sweep(resources)
    assert report().exit_code == 0


def test_an_orphan_is_1(resources):
    assert report_retention(resources, orphans=1).exit_code == 1


def test_orphans_that_could_not_be_counted_are_2(resources):
    assert report_retention(resources, orphans=None).exit_code == 2


def test_something_overdue_is_1(resources, caller, time, report):
    sent = send(resources, caller, lifetime=MINUTE)
    time.pass_until(sent.transfer.expires_at + 4 * SECOND)
    assert report().exit_code == 0, "a sweep each second needs a moment"
    time.pass_by(6)
    seen = report()
    assert (seen.overdue, seen.worst_lateness_s, seen.vault.keys_past_due, seen.exit_code) == (1, 10, 2, 1)


def test_a_deletion_that_fails_is_1(resources, caller, time, report, monkeypatch):
    sent = send(resources, caller, lifetime=MINUTE)
    time.pass_until(sent.transfer.expires_at)

    async def refuse(_store, blob_ids, *, force=False):
        return {blob_id: BlobUnavailable("I/O error") for blob_id in blob_ids}

    with monkeypatch.context() as broken:
        broken.setattr(LocalDisk, "delete", refuse)
        assert sweep(resources).failed == 1
    seen = report()
    assert (seen.failing, seen.exit_code) == ([sent.id], 1)
    time.pass_by(5 * MINUTE)
    sweep(resources)
    assert report().exit_code == 0


def test_the_key_of_a_share_that_resists_is_1_though_its_transfer_lives_on(resources, caller, report, monkeypatch):
    sent = send(resources, caller, keep_until_expiry=True)
    monkeypatch.setattr(VaultFolder, "destroy", lambda _vault, _names: None)
    withdraw_share(resources, sent.share.id, caller=caller)
    assert sweep(resources).failed == 1
    assert (report().failing, report().exit_code) == ([sent.id], 1)


def test_a_database_that_was_rolled_back_is_2(resources, report):
    keep_time(resources)
    remembered = read_high_water(resources.vault)
    assert remembered is not None
    resources.vault.write_mark(replace(remembered, log_size=remembered.log_size + 1).to_text())
    seen = report()
    assert "accept-restore" in (seen.rolled_back or "")
    assert seen.exit_code == 2


def test_a_key_past_due_is_1(resources, time, report):
    resources.vault.create(EntryName(new_id(), time.moment.replace(microsecond=0) - MINUTE), new_secret())
    assert (report().vault.keys_past_due, report().exit_code) == (1, 1)


def test_an_hour_that_has_ended_and_is_still_there_is_1(resources, report, purge):
    folder = resources.settings.vault_dir / "2026-03-02T08"
    folder.mkdir()
    (folder / "hour.key").write_bytes(new_secret())
    assert (report().vault.hours_past_due, report().exit_code) == (1, 1)
    purge()
    assert report().exit_code == 0


def test_a_clock_that_is_not_believed_is_2(resources, time, report):
    keep_time(resources)
    time.leap(DAY)
    keep_time(resources)
    assert report().clock_problem is not None
    assert report().exit_code == 2


def test_no_sweep_yet_is_2(unswept_resources):
    seen = report_retention(unswept_resources, orphans=0)
    assert (seen.last_sweep_at, seen.sweeping, seen.exit_code) == (None, False, 2)


def test_no_sweep_for_too_long_is_2(resources, time, report):
    time.pass_by(resources.settings.deadman)
    assert report().exit_code == 0
    time.pass_by(1)
    assert (report().sweeping, report().exit_code) == (False, 2)


@pytest.mark.parametrize("mount_point_stays", [False, True], ids=["gone", "empty mount point"])
def test_a_vault_that_cannot_be_asked_is_2(resources, report, mount_point_stays):
    """An unmounted vault must not read as "no key is left"."""
    folder = resources.settings.vault_dir
    with out_of_reach(folder):
        if mount_point_stays:
            folder.mkdir()
        seen = report()
        if mount_point_stays:
            folder.rmdir()
    assert (seen.vault.keys_past_due, seen.vault.hours_past_due, seen.exit_code) == (None, None, 2)
    assert seen.vault.problem


def test_what_cannot_be_proved_outranks_what_is_overdue(resources, time, caller):
    send(resources, caller, lifetime=MINUTE)
    time.pass_by(HOUR)
    assert report_retention(resources, orphans=3).exit_code == 2


# Figures


def test_gaps_between_sweeps_are_kept_for_a_month(resources, time, report):
    sweep(resources)
    began = time.moment
    for pause in (30 * SECOND, 10 * MINUTE, SECOND):
        time.pass_by(pause)
        sweep(resources)
    assert report().gaps == [(began + 30 * SECOND, began + 30 * SECOND + 10 * MINUTE)]
    time.pass_by(31 * DAY)
    sweep(resources)
    assert [ended for _, ended in report().gaps] == [time.moment]


def test_lateness_is_counted_in_buckets_and_by_day(resources, caller, time, report):
    for lateness in (SECOND / 2, 4 * SECOND, 4 * SECOND, 2 * HOUR):
        sent = send(resources, caller, lifetime=MINUTE)
        time.pass_until(sent.transfer.expires_at + lateness)
        sweep(resources)
        sweep(resources)
    seen = report()
    buckets = {name.removeprefix("lateness_"): count for name, count in seen.lateness.items()}
    assert buckets == {
        "le_1": 1,
        "le_2": 1,
        "le_3": 1,
        "le_5": 3,
        "le_10": 3,
        "le_60": 3,
        "le_300": 3,
        "le_3600": 3,
        "count": 4,
        "sum_ms": 7_208_500,
    }
    ((day, deletions, worst),) = seen.lateness_by_day
    assert (day, deletions, worst) == (datetime(2026, 3, 2, tzinfo=UTC), 4, 7200.0)


def test_what_is_held_is_counted_by_age_and_state(resources, caller, time, report):
    send(resources, caller)
    time.pass_by(DAY + HOUR)
    sweep(resources)
    a_transfer(resources, caller)
    seen = report()
    assert seen.transfers == {"live": 1, "receiving": 1}
    assert seen.ages_by_day[:3] == [1, 1, 0]
    assert len(seen.ages_by_day) == resources.settings.max_lifetime.days + 1


def test_people_are_forgotten_and_figures_are_not(resources, caller, time, report, purge):
    sent = send(resources, caller, lifetime=MINUTE, label="depistage")
    time.pass_until(sent.transfer.expires_at)
    sweep(resources)
    time.pass_by(FORGET_AFTER + DAY)
    keep_time(resources)
    sweep(resources)
    purge()
    assert transfer_row(resources, sent.id).label is None
    assert share_row(resources, sent.share.id).recipient is None
    assert report().transfers == {"verified": 1}
    assert report().exit_code == 0


# The page


class Tags(HTMLParser):
    """The tags of a page with their attributes, and whether all that were opened are closed."""

    VOID = frozenset({"meta", "link", "br", "hr", "img", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag


A_REPORT = RetentionReport(
    at=datetime(2026, 3, 2, 10, 15, 30, tzinfo=UTC),
    transfers={"live": 3, "verified": 40},
    ages_by_day=[2, 1, 0, 0, 0, 0, 0, 0],
    overdue=1,
    worst_lateness_s=12,
    failing=["AAAAAAAAAAAAAAAAAAAAAA"],
    vault=VaultFindings(None, None, "key vault, names: <No such file> & more"),
    orphans=None,
    last_sweep_at=None,
    sweeping=False,
    gaps=[(datetime(2026, 3, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, 2, 30, tzinfo=UTC))],
    lateness={"lateness_le_1": 30, "lateness_le_2": 39, "lateness_count": 40, "lateness_sum_ms": 30_000},
    lateness_by_day=[(datetime(2026, 3, 1, tzinfo=UTC), 40, 4.25)],
    rolled_back=None,
    clock_problem="<b>365 days</b> ahead of the boot clock",
    locked_down_at=None,
    last_drill_at=None,
)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_page_comes_from_nowhere_else_and_is_whole(start_service):
    settings = start_service(organisation='Laboratoire <script>alert("1")</script> & fils').settings
    page = retention_page(A_REPORT, settings, "en")
    assert "http://" not in page
    assert "https://" not in page
    assert "url(" not in page
    assert "@import" not in page
    tags = Tags(page)
    assert tags.open == []
    assert {tag for tag, _ in tags.seen}.isdisjoint({"script", "link", "img", "iframe", "object", "form", "a", "b"})
    assert not any({"src", "href", "style"} & attributes.keys() for _, attributes in tags.seen)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_page_escapes_what_it_shows(start_service):
    settings = start_service(organisation='Laboratoire <script>alert("1")</script> & fils').settings
    page = retention_page(A_REPORT, settings, "en")
    assert "Laboratoire &lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt; &amp; fils" in page
    assert "&lt;b&gt;365 days&lt;/b&gt; ahead of the boot clock" in page
    assert "key vault, names: &lt;No such file&gt; &amp; more" in page


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_page_says_what_the_report_says(start_service):
    page = retention_page(A_REPORT, start_service().settings, "en")
    for said in (
        "It cannot be proved that everything due is gone.",
        "1<br>the worst by 12\u00a0s",
        "As of 2 Mar 2026, 10:15:30\u00a0UTC",
        "never<br>too long ago",
        "5,400\u00a0s",
    ):
        assert said in page


def test_the_page_of_a_clean_installation(report, resources):
    page = retention_page(report(), resources.settings, "en")
    assert "Clean: nothing is overdue." in page
    assert "None." in page
    assert Tags(page).open == []
