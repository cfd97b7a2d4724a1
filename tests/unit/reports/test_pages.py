"""Every page is wholly in one language: templates hold no words, and each word that is shown has both languages."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest

from app.actions.report_retention import RetentionReport, VaultFindings, Witnesses
from app.domain.audit_events import Event
from app.domain.certificate import Certificate
from app.domain.consistency import Consistency, Outcome
from app.domain.deliveries import DeliveryReport, DepositorFigures, RecipientFigures, UnfetchedTransfer
from app.domain.errors import NotDeletedYet, every_refusal
from app.domain.evidence import Evidence, SignedHead
from app.domain.exposure import INCIDENTS, ExposureReport, Incident, PurposeVolume, RefusedLinks, Volume
from app.domain.reconciled import Contradiction
from app.domain.share import ShareState
from app.domain.transfer import Ending, TransferState
from app.domain.transfer_account import FailedDeletion, HeldTransfer, SeenClaim, SeenDeletion, WrongPasswords
from app.reports.certificate import certificate_page
from app.reports.deliveries import deliveries_page
from app.reports.exposure import exposure_page
from app.reports.forms import entrance_page, refused_page
from app.reports.log_pages import checkpoint_page, consistency_page
from app.reports.retention import retention_page
from app.reports.words import LANGUAGES, Words, report_sentences
from app.runtime.settings import Settings
from app.terminal.audit import _print_retention
from tests.unit.docs_tables import rows

WORD = re.compile(r"[^\W\d_]+")
NOW = datetime(2026, 3, 2, 10, 15, 30, tzinfo=UTC)
ID = "A" * 22
HEAD = SignedHead("caducee.log/x", 1_234_567, "AAAA=")
EVIDENCE = Evidence("9.9", 1_234_568, HEAD, "caducee.log/x+00+AA")
SETTINGS = Settings(organisation="X", contact="Y")

RETENTION = RetentionReport(
    at=NOW,
    transfers={state.value: 1_000 for state in TransferState},
    ages_by_day=[12_000, 1, 0, 0, 0, 0, 0, 2],
    overdue=1,
    worst_lateness_s=1_200,
    failing=[ID],
    vault=VaultFindings(None, 3, "the vault's problem"),
    orphans=None,
    last_sweep_at=None,
    sweeping=False,
    gaps=[(NOW - timedelta(hours=2), NOW)],
    lateness={"lateness_le_1": 30, "lateness_count": 40},
    lateness_by_day=[(NOW, 40, 4.25)],
    rolled_back="the database's problem",
    clock_problem="the clock's problem",
    log_forged="the log's problem",
    locked_down_at=NOW,
    last_drill_at=None,
    witnesses=Witnesses(NOW, 1, [Contradiction("key_left", ID)], 0, ["0/0"]),
    evidence=EVIDENCE,
)
EXPOSURE = ExposureReport(
    NOW,
    NOW,
    NOW,
    5,
    pruned_before=NOW + timedelta(1),
    lost=[(NOW, NOW)],
    complete=False,
    told_in_part=2,
    purposes=[PurposeVolume(None, Volume(1, 2, 3, 0, 1)), PurposeVolume("P", Volume(2, 2, 1_000_000, 5, 0))],
    transfers=[HeldTransfer(ID), HeldTransfer(ID, created_at=NOW, keys_destroyed_at=NOW, deleted_at=NOW, records=1)],
    claims=[SeenClaim(ID, ID, ID, addresses=["::1"]), SeenClaim(ID, ID, ID, NOW, ended_at=NOW, ending="lapsed")],
    wrong_passwords=[WrongPasswords(ID, ID, None, 3, NOW, NOW)],
    refused_links=[RefusedLinks(NOW, 3)],
    deletions=[SeenDeletion(ID, NOW, "expired", 1, 2, 1_500)],
    failed_deletions=[FailedDeletion(ID, NOW, "key_left"), FailedDeletion(ID, NOW, None)],
    incidents=[Incident(NOW, event, "token:x", None) for event in INCIDENTS],
    evidence=EVIDENCE,
)
DELIVERIES = DeliveryReport(
    NOW,
    NOW,
    NOW,
    complete=False,
    evidence=EVIDENCE,
    never_fetched_count=1_200,
    by_depositor=[DepositorFigures(ID, None), DepositorFigures(ID, "L", bytes=10**9)],
    by_recipient=[RecipientFigures("R", last_fetched_at=NOW), RecipientFigures(None)],
    never_fetched=[
        UnfetchedTransfer(ID, "L", ["R"], 2, NOW, NOW, None, None, 1, 2, claimed=True),
        UnfetchedTransfer(ID, "L", [], 0, None, None, NOW, "expired", 1, 2, claimed=False),
    ],
)
CERTIFICATE = Certificate(ID, NOW, "expired", 2, 5_000_000, 7, HEAD, 1, 3, "receipt", "key", NOW, "9.9")


def consistency(outcome: Outcome) -> Consistency:
    return Consistency(outcome, HEAD, HEAD, "old 1" if outcome is Outcome.CONSISTENT else None, "key")


def pages(language: str) -> list[str]:
    """Every page, with everything on it that it can show."""
    of_no_evidence: Any = replace(RETENTION, evidence=Evidence("9.9", 1, None, None))
    certificates = [
        CERTIFICATE,
        replace(CERTIFICATE, downloads=0),
        replace(CERTIFICATE, claims=0, downloads=0),
        replace(CERTIFICATE, claims=None, downloads=None),
    ]
    return [
        *(retention_page(report, SETTINGS, language) for report in (RETENTION, of_no_evidence)),
        exposure_page(EXPOSURE, SETTINGS, language),
        exposure_page(ExposureReport(NOW, NOW, NOW, 0), SETTINGS, language),
        deliveries_page(DELIVERIES, SETTINGS, language),
        *(certificate_page(each, SETTINGS, language) for each in certificates),
        checkpoint_page("note", "key", SETTINGS, language),
        *(consistency_page(consistency(outcome), SETTINGS, language, at=NOW) for outcome in Outcome),
        entrance_page(SETTINGS, language),
        *(refused_page(refusal(), language) for refusal in every_refusal()),
        refused_page(NotDeletedYet(missing="keys"), language),
    ]


class Text(HTMLParser):
    """What a reader sees or hears of a page in its own language, and whether its tags are closed."""

    VOID = frozenset({"meta", "br", "img", "input", "link", "rect"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.said: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        foreign = tag in {"style", "code", "pre"} or ("lang" in named and tag != "html")
        if tag not in self.VOID:
            self.open.append((tag, foreign))
        self.said += [
            named[name] or "" for name in ("data-label", "aria-label", "title", "placeholder") if name in named
        ]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop()[0] == tag, tag

    def handle_data(self, data):
        if not any(foreign for _, foreign in self.open):
            self.said.append(data)


def forms(language: str, key: str) -> list[str]:
    text = report_sentences(language)[key]
    return text if isinstance(text, list) else [text]


def sentences(language: str) -> dict[str, str]:
    """Every form of every sentence, by itself, up to its first value."""
    return {form: key for key in report_sentences(language) for form in forms(language, key)}


def test_templates_hold_no_words():
    """Whatever is said comes from the catalogue, in the page's language."""
    for place in files("app.reports").joinpath("templates").iterdir():
        if place.name.endswith(".html"):
            text = re.sub(r"\{% block kind %\}\w*", "", place.read_text("utf-8"))  # a class of the body
            text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", "", text, flags=re.DOTALL)
            text = re.sub(r"<code>.*?</code>", "", text, flags=re.DOTALL)
            text = re.sub(r'\s(?:title|placeholder|aria-label|alt)="([^"]*)"', r">\1<", text)
            assert re.findall(r"[^\W\d_]{2,}", re.sub(r"<[^>]*>", "", text)) == [], place.name


@pytest.mark.parametrize(("language", "other"), [("fr", "en"), ("en", "fr")])
def test_no_page_has_a_sentence_of_the_other_language(language, other):
    own = set(sentences(language))
    vocabulary = {word for form in own for word in WORD.findall(form)}
    foreign = {form for form in sentences(other) if not set(WORD.findall(form)) <= vocabulary}
    shown = [" ".join(Text(page).said) for page in pages(language)]
    for form in foreign:
        fixed = max(re.split(r"\{\w+\}", form), key=len).strip(" .,:\u00a0")
        if len(fixed) > 3 and not set(WORD.findall(fixed)) <= vocabulary:
            whole = re.compile(rf"(?<!\w){re.escape(fixed)}(?!\w)")
            assert not any(whole.search(text) for text in shown), form


def test_both_languages_have_the_same_sentences_and_places():
    slots = re.compile(r"\{\w+\}")
    said = [
        {
            key: {slot for form in forms(language, key) for slot in slots.findall(form)}
            for key in report_sentences(language)
        }
        for language in LANGUAGES
    ]
    assert said[0] == said[1]
    assert [key for language in LANGUAGES for key in report_sentences(language) if not all(forms(language, key))] == []


CLEAN = replace(
    RETENTION,
    overdue=0,
    failing=[],
    vault=VaultFindings(0, 0),
    orphans=0,
    sweeping=True,
    rolled_back=None,
    clock_problem=None,
    log_forged=None,
    witnesses=Witnesses(NOW),
)


@pytest.mark.parametrize(
    ("change", "page", "command"),
    [
        ({}, "Clean", "clean"),
        ({"overdue": 1}, "Overdue", "OVERDUE"),
        ({"orphans": 2}, "Orphaned", "ORPHANED"),
        ({"witnesses": Witnesses(NOW, 1, [Contradiction("key_left", ID)])}, "Contradicted", "CONTRADICTED"),
        ({"witnesses": Witnesses(NOW, strangers=["0/0"])}, "Unknown files", "STRANGE"),
    ],
)
def test_the_headline_of_retention_says_what_is_so(change, page, command, capsys):
    """A stray file is not overdue data."""
    report = replace(CLEAN, **change)
    assert report.exit_code == bool(change)
    verdicts = re.findall(r'<p class="verdict[^>]*>([^<:]*)', retention_page(report, SETTINGS, "en"))
    assert verdicts == [page]
    _print_retention(report, "10m")
    said = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines() if re.match(r"\w+:", line)]
    assert said[0] == command


def test_no_age_stands_for_a_day_beyond_the_limit():
    """The last count has everything older than the limit."""
    page = retention_page(RETENTION, SETTINGS, "en")
    assert "older than 7 days" in page
    assert "day 8" not in page


def test_deliveries_give_the_dates_of_what_the_log_lacks():
    report = replace(DELIVERIES, pruned_before=NOW + timedelta(1), lost=[(NOW, NOW + timedelta(hours=1))])
    page = deliveries_page(report, SETTINGS, "en").replace("\u00a0", " ")
    assert "entries before 3 Mar 2026, 10:15:30" in page
    assert "no entries from 2 Mar 2026, 10:15:30 UTC to 2 Mar 2026, 11:15:30" in page


def test_every_sentence_is_used():
    """By its name in a template or a module, or as the word for a value."""
    package = files("app.reports")
    places = [*package.iterdir(), *package.joinpath("templates").iterdir()]
    text = "\n".join(place.read_text("utf-8") for place in places if place.name.endswith((".py", ".html")))
    kinds = (
        *re.findall(r'code\("(\w+)"', text),
        *re.findall(r"code\('(\w+)'", text),
        "outcome",
        "house_refused",
        "log_wrong",
    )
    words = set(re.findall(r"[a-z_]+", text))
    unused = [
        key
        for key in report_sentences("en")
        if key not in words and not key.startswith(tuple(f"{kind}_" for kind in kinds)) and not key.endswith("_problem")
    ]
    assert unused == []


def test_every_value_that_pages_show_has_a_word():
    ended = {ShareState.COMPLETED, ShareState.LAPSED, ShareState.WITHDRAWN, ShareState.LOCKED, ShareState.EXPIRED}
    documented = [re.findall(r"`(\w+)`", f"`{row[0]}`") for row in rows("docs/deletion.md", "word")]
    values: dict[str, set[str]] = {
        "ending": {each.value for each in Ending},
        "state": {each.value for each in TransferState},
        "share_ending": {each.value for each in ended},
        "event": {Event(each).value.replace(".", "_") for each in INCIDENTS},
        "outcome": {each.value for each in Outcome},
        "contradiction": {word for words in documented for word in words},
    }
    assert len(values["contradiction"]) > 25
    known = report_sentences("en")
    assert [f"{kind}_{value}" for kind in values for value in values[kind] if f"{kind}_{value}" not in known] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_whole_and_loads_and_runs_nothing(language):
    for page in pages(language):
        assert Text(page).open == []
        assert not re.search(r"<script|<link|<img|https?://|url\(|@import|\son\w+=|\sstyle=", page)


def test_numbers_and_times_are_written_as_each_language_does():
    french, english = Words("fr"), Words("en")
    assert french.number(1_234_567) == "1\u202f234\u202f567"
    assert english.number(1_234_567) == "1,234,567"
    assert (french.number(0.25), english.number(4.25)) == ("0,2", "4.2")
    assert french.moment(NOW) == "2 mars 2026, 10:15:30\u00a0UTC"
    assert english.moment(NOW) == "2 Mar 2026, 10:15:30\u00a0UTC"
    assert [french("files", count=count) for count in (0, 1, 2)] == ["0 fichier", "1 fichier", "2 fichiers"]
    assert [english("files", count=count) for count in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_report_names_the_checkpoint_and_the_version_it_rests_on(language):
    for page in (
        retention_page(RETENTION, SETTINGS, language),
        exposure_page(EXPOSURE, SETTINGS, language),
        deliveries_page(DELIVERIES, SETTINGS, language),
        certificate_page(CERTIFICATE, SETTINGS, language),
    ):
        assert "caducee.log/x" in page
        assert "AAAA=" in page
        assert "9.9" in page


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_page_shows_is_escaped(language):
    evil = '<img src=x onerror="x">'
    settings = Settings(organisation=evil, contact=evil)
    report = replace(DELIVERIES, by_recipient=[RecipientFigures(evil)], by_depositor=[DepositorFigures(ID, evil)])
    certificate = replace(CERTIFICATE, receipt=evil, public_key=evil)
    for page in (deliveries_page(report, settings, language), certificate_page(certificate, settings, language)):
        assert "<img" not in page
        assert "&lt;img" in page
