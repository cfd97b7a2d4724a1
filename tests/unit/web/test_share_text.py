"""Times and sizes as people read them: in the house's zone, with its name, in their language."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from zoneinfo import available_timezones

import pytest
import tzlocal
from pydantic import ValidationError

from app.runtime import house_zone
from app.runtime.settings import Settings
from app.web.pages.catalogues import languages
from app.web.share_text import moment_shown, size_shown
from tests.unit.docs_tables import ROOT

WINTER, SUMMER = datetime(2026, 1, 31, 23, 30, tzinfo=UTC), datetime(2026, 7, 1, 8, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "moment", "language", "shown"),
    [
        ("Europe/Paris", WINTER, "fr", "1 février 2026 à 00:30 (heure normale d’Europe centrale)"),
        ("Europe/Paris", SUMMER, "fr", "1 juillet 2026 à 10:15 (heure d’été d’Europe centrale)"),
        ("Europe/Paris", SUMMER, "en", "1 July 2026 at 10:15 (Central European Summer Time)"),
        ("Indian/Reunion", SUMMER, "fr", "1 juillet 2026 à 12:15 (heure de La Réunion)"),
        ("UTC", SUMMER, "en", "1 July 2026 at 08:15 (Coordinated Universal Time)"),
        ("Africa/Casablanca", SUMMER, "en", "1 July 2026 at 09:15 (Morocco Time, GMT+01:00)"),
    ],
)
def test_a_time_is_that_of_the_house_and_its_zone_has_a_name(zone, moment, language, shown):
    assert moment_shown(moment, settings=Settings(timezone=zone), language=language) == shown


@pytest.mark.parametrize("language", languages())
def test_every_zone_can_be_written(language):
    """A zone that could not be would fail a deposit after its share was issued."""
    settings = Settings(timezone="UTC")
    for zone in sorted(available_timezones() - {"Factory", "localtime"}):
        there = settings.model_copy(update={"timezone": zone})  # the check of the setting is another test's
        assert moment_shown(SUMMER, settings=there, language=language).endswith(")"), zone


@pytest.mark.parametrize("name", ["Paris", "europe/paris", "CEST", "UTC+1", "../UTC", "/etc/localtime", "Factory"])
def test_a_zone_that_does_not_exist_is_refused(name):
    with pytest.raises(ValidationError, match="must be a time zone"):
        Settings(timezone=name)


def test_without_a_setting_the_zone_is_that_of_the_host():
    """In a process of its own, because a process asks once."""
    program = "from app.runtime.settings import Settings; print(Settings().zone.key)"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TZ": "Europe/Paris"}
    asked = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert asked.stdout == "Europe/Paris\n"


@pytest.mark.parametrize("stated", [None, "", "Nowhere/Land", "Factory"])
def test_without_a_zone_that_is_known_it_is_utc(monkeypatch, stated):
    monkeypatch.setattr(tzlocal, "get_localzone_name", lambda: stated)
    assert house_zone.zone_of.__wrapped__("").key == "UTC"


@pytest.mark.parametrize(
    ("count", "english", "french"),
    [
        (0, "0 bytes", "0 octet"),
        (999, "999 bytes", "999 octets"),
        (1_000, "1 kB", "1 ko"),
        (216_765, "216.8 kB", "216,8 ko"),
        (5 * 10**9, "5 GB", "5 Go"),
        (10**15, "1,000 TB", "1 000 To"),
    ],
)
def test_sizes_are_decimal_as_on_the_recipients_page(count, english, french):
    assert size_shown(count, "en") == english
    assert size_shown(count, "fr").replace("\u202f", " ").replace("\u00a0", " ") == french
