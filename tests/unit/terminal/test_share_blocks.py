"""What a depositor is shown of a share: local times, harmless text, and the language of the machine."""

import time

import pytest

from app.terminal.report_options import PageLanguage
from app.terminal.share_blocks import blocks, language_of_mail, local_time, mail_or_link


@pytest.fixture
def in_paris(monkeypatch):
    with monkeypatch.context() as here:
        here.setenv("TZ", "Europe/Paris")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_paris")
def test_times_are_local_and_have_their_offset():
    assert local_time("2026-01-31T23:30:00Z") == "2026-02-01 00:30+01:00"
    assert local_time("2026-07-01T08:15:59Z") == "2026-07-01 10:15+02:00"
    assert local_time("") == ""
    shown = mail_or_link(None, link="https://host/s/x#y", expires_at="2026-07-01T08:15:00Z")
    assert shown == "https://host/s/x#y\nexpires   2026-07-01 10:15+02:00"


def test_no_text_of_a_service_moves_the_cursor():
    shown = blocks("A\x1b[2J", mail="Subject: \x1b[2J\nx\u202e\n", password="0\x1b")
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert shown.count("\n\n") == 2


@pytest.mark.parametrize(
    ("variables", "chosen", "language"),
    [
        ({"LANG": "fr_FR.UTF-8"}, None, "fr"),
        ({"LANG": "French_France.1252"}, None, "fr"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "C.UTF-8"}, None, "en"),
        ({"LANG": "de_DE"}, None, "en"),
        ({"LANG": "no such"}, None, "en"),
        ({"LANG": "fr_FR.UTF-8"}, PageLanguage.EN, "en"),
    ],
)
def test_the_language_is_the_one_chosen_else_that_of_the_machine(monkeypatch, variables, chosen, language):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language_of_mail(chosen) == language
