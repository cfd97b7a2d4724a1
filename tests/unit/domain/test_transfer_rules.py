"""Rules of a transfer: lifetimes, and what it lets in by way of names, types and texts."""

import json
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import (
    InvalidFileName,
    InvalidFilePath,
    InvalidRequest,
    LifetimeOutOfRange,
    TransferClosed,
    TransferEnded,
    WrongFileNumber,
)
from app.domain.file_meta import MAX_JSON_BYTES, FileMeta
from app.domain.transfer import (
    DEFAULT_MEDIA_TYPE,
    ENDING_STATES,
    MAX_FREE_TEXT,
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    OPEN_STATES,
    Lifetimes,
    TransferState,
    checked_file_name,
    checked_file_path,
    checked_free_text,
    checked_media_type,
    require_next_number,
    require_open,
    require_taking_files,
)

NOW = datetime(2026, 3, 2, 10, 15, 30, 250_000, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WEEK = Lifetimes(timedelta(minutes=5), timedelta(days=7))

moments = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


# Lifetimes


@given(moments, st.integers(300, 7 * 86_400))
def test_an_expiry_is_a_whole_second_not_before_what_was_asked_for_nor_beyond_the_maximum(now, seconds):
    """Lesson 7: whatever is asked for, the server's maximum holds."""
    asked = timedelta(seconds=seconds)
    expiry = WEEK.expiry(asked, now)
    assert expiry.tzinfo is UTC
    assert expiry.microsecond == 0
    assert now + asked - SECOND < expiry <= now + WEEK.maximum
    assert expiry - (now + asked) < SECOND
    if expiry < now + asked:  # only ever short of it because the maximum allows no more
        assert expiry + SECOND > now + WEEK.maximum


def test_no_lifetime_asked_for_is_the_longest():
    assert (
        WEEK.expiry(None, NOW)
        == WEEK.expiry(timedelta(days=7), NOW)
        == (NOW + timedelta(days=7)).replace(microsecond=0)
    )


def test_nobody_gets_less_than_asked_for():
    assert WEEK.expiry(timedelta(hours=1), NOW) == NOW.replace(microsecond=0) + timedelta(hours=1, seconds=1)


@pytest.mark.parametrize(
    "asked",
    [
        timedelta(0),
        -SECOND,
        timedelta.min,
        timedelta(minutes=5) - timedelta.resolution,
        timedelta(days=7) + timedelta.resolution,
        timedelta(days=36_500),
        timedelta.max,
    ],
)
def test_a_lifetime_outside_the_limits_is_refused(asked):
    """Lesson 7: 0, negative, huge, overflowing."""
    with pytest.raises(LifetimeOutOfRange, match="between 5m and 7d"):
        WEEK.expiry(asked, NOW)


@pytest.mark.parametrize("state", TransferState)
def test_a_transfer_is_open_until_the_first_instant_of_its_expiry(state):
    expires_at = NOW + SECOND
    if state in OPEN_STATES:
        require_open(state, expires_at, expires_at - timedelta.resolution)
        with pytest.raises(TransferEnded):
            require_open(state, expires_at, expires_at)
    else:
        with pytest.raises(TransferEnded):
            require_open(state, expires_at, NOW)


def test_every_state_is_open_ending_or_verified():
    assert {*OPEN_STATES, *ENDING_STATES, TransferState.VERIFIED} == set(TransferState)


def test_a_closed_transfer_takes_no_files():
    require_taking_files(None)
    with pytest.raises(TransferClosed):
        require_taking_files(NOW)


# File names

GOOD_NAMES = [
    "results.csv",
    "r\u00e9sultats d'analyses (1).csv",
    "re\u0301sultats.csv",  # decomposed, as macOS writes it: it comes back as it went in
    ".bashrc",
    "a",
    "...a",
    "\u691c\u67fb.pdf",
    "\u05d1\u05d3\u05d9\u05e7\u05d4.pdf",
    "CON",
    "nul.txt",
    "semi;colon & 'quote' \"double\" %00 $(id) `id` {{7*7}} <b>.txt",
    "-rf",
    "a" * MAX_NAME_BYTES,
    "\u00e9" * 127,
]


@pytest.mark.parametrize("name", GOOD_NAMES, ids=lambda name: ascii(name)[:20])
def test_a_name_is_kept_as_it_is(name):
    """Names of devices and shell characters are the sender's own affair: no name ever becomes a path or a command."""
    assert checked_file_name(name) == name


BAD_NAMES = {
    "empty": "",
    "dot": ".",
    "dots": "..",
    "spaces": "   ",
    "dots and spaces": " . . ",
    "nul": "a\0.csv",
    "line feed": "a\nb",
    "carriage return": "a\r\nSet-Cookie: x",
    "tab": "a\tb",
    "escape": "a\x1b[2Jb",
    "delete": "a\x7fb",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "parent folder": "../../etc/passwd",
    "absolute": "/etc/passwd",
    "windows": "..\\..\\boot.ini",
    "right-to-left override": "invoice\u202efdp.exe",
    "isolate": "a\u2066b\u2069",
    "right-to-left mark": "a\u200fb",
    "arabic letter mark": "a\u061cb",
    "replacement": "r\ufffdsultats.csv",
    "surrogate": "a\ud800b",
    "too long": "a" * (MAX_NAME_BYTES + 1),
    "300 characters": "x" * 300,
    "too long in UTF-8": "\u00e9" * 128,
}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES.keys())
def test_a_name_that_no_file_may_have_is_refused(name):
    """Lesson 26: NUL, CR/LF, ../, RTL marks, 300 characters (CrushFTP CVE-2024-4040, Wing FTP CVE-2025-47812)."""
    with pytest.raises(InvalidFileName):
        checked_file_name(name)


@given(st.text())
def test_whatever_is_accepted_is_one_line_of_a_storable_size(name):
    """Lesson 26."""
    try:
        checked = checked_file_name(name)
    except InvalidFileName:
        return
    assert checked == name
    assert 1 <= len(checked.encode()) <= MAX_NAME_BYTES
    assert not set("/\\\0\r\n\u202e\u2066") & set(checked)
    assert checked not in {".", ".."}
    assert all(unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"} for character in checked)


BAD_PATHS = {
    "parent folder": "..",
    "up and down": "a/../b",
    "here": "./a",
    "dots and spaces": "a/. ./b",
    "absolute": "/etc",
    "trailing": "etc/",
    "empty folder": "a//b",
    "only a separator": "/",
    "windows": "a\\b",
    "share": "\\\\server\\share",
    "drive": "C:/Users",
    "drive further down": "a/c:",
    "nul": "a\0/b",
    "line feed": "a/b\n",
    "right-to-left override": "a/\u202efdp",
    "surrogate": "a/\ud800",
    "replacement": "r\ufffdsultats",
    "a long folder": "a/" + "x" * (MAX_NAME_BYTES + 1),
    "too long in UTF-8": "/".join(["\u00e9" * 100] * 3),
    "1,000 folders": "/".join("a" * 1_000),
}


@pytest.mark.parametrize("path", BAD_PATHS.values(), ids=BAD_PATHS.keys())
def test_a_path_that_could_lead_out_of_its_folder_is_refused(path):
    """Lesson 26, for the folders above a file (zip slip)."""
    with pytest.raises(InvalidFilePath):
        checked_file_path(path)


@pytest.mark.parametrize(
    "path", ["", "a", "Études 2026/CT 1", ".hidden/a b", "2026-01-31T08:15:00/x", "/".join("a" * 256)]
)
def test_a_path_is_kept_as_it_is(path):
    assert checked_file_path(path) == path


@given(st.lists(st.text(st.sampled_from("aé.: \\/\0\u202eC") | st.characters(), max_size=5), max_size=5).map("/".join))
def test_a_path_that_is_accepted_stays_below_the_folder_it_is_restored_into(path):
    """Lesson 26: also as Windows reads it, where a drive or a backslash leads elsewhere."""
    try:
        checked = checked_file_path(path)
    except InvalidFilePath:
        return
    assert checked == path
    assert len(path.encode()) <= MAX_PATH_BYTES
    for kind in (PurePosixPath, PureWindowsPath):
        joined = kind("top") / kind(path)
        assert joined.parts[0] == "top"
        assert ".." not in joined.parts
        assert len(joined.parts) == 1 + len(list(filter(None, path.split("/")))), "one folder for each part"


TEXTS = st.text() | st.sampled_from(["a", "é", 'say "a"'])


@given(TEXTS, st.none() | st.text(), TEXTS)
def test_name_type_and_path_survive_the_json_that_is_encrypted(name, media_type, path):
    try:
        meta = FileMeta.checked(name, media_type, path)
    except (InvalidFileName, InvalidFilePath):
        return
    assert FileMeta.from_json(meta.to_json()) == meta


def test_names_of_other_programs_are_checked_when_they_are_read():
    """Lesson 26: what a sealing client wrote is no more trustworthy than what a depositor sends."""
    with pytest.raises(InvalidFileName):
        FileMeta.from_json(b'{"name": "../../etc/passwd", "type": "text/plain"}')
    for path in (b'"../.."', b"5", b"false", b'["a"]'):
        with pytest.raises(InvalidFilePath):
            FileMeta.from_json(b'{"name": "a", "path": %s}' % path)


@pytest.mark.parametrize("data", [b"[" * MAX_JSON_BYTES, b"[]", b"5", b"\xff", b'{"type": "a/b"}', b'{"name": 5}'])
def test_what_is_no_such_object_is_refused(data):
    """Also what is nested too deep for the parser."""
    with pytest.raises(InvalidFileName):
        FileMeta.from_json(data)


def test_a_name_is_in_no_repr():
    """Lesson 34: a name in a traceback is a name in a log."""
    assert "DUPONT" not in repr(FileMeta.checked("DUPONT_HIV.csv", "text/csv"))


# Media types


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("text/csv", "text/csv"),
        ("Text/CSV; charset=utf-8", "text/csv"),
        (" application/pdf ", "application/pdf"),
        ("application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
        ("image/svg+xml", "image/svg+xml"),
    ],
)
def test_a_media_type_is_kept_bare(sent, kept):
    assert checked_media_type(sent) == kept


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        "text",
        "text/",
        "/csv",
        "text/csv\r\nSet-Cookie: a=b",
        "a/b/c",
        "text/c sv",
        "te\0xt/csv",
        "t\u00e9xt/csv",
        "\uff54ext/csv",
        "x" * 61 + "/csv",
    ],
)
def test_anything_else_is_of_no_particular_type(sent):
    """Lesson 26: no header injection by way of a type."""
    assert checked_media_type(sent) == DEFAULT_MEDIA_TYPE


# Labels and recipients


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        (" ARS, Mme Durand ", "ARS, Mme Durand"),
        ("x" * MAX_FREE_TEXT, "x" * 200),
        ("\ufeffCPAM\u00a0\u202f 75\u200b\u2060", "CPAM 75"),
        ("\u00a0\u200b\u00a0", None),
        ("Ho\u0302pital\tde\u00adSe\u0301lestat", "H\u00f4pital deS\u00e9lestat"),
    ],
)
def test_a_text_is_one_line_without_its_margins(given, kept):
    assert checked_free_text(given, field="label") == kept


@pytest.mark.parametrize(
    "given", ["x" * 201, "two\nlines", "a\rb", "a\0b", "a\u2028b", "a\x1b[2J", "a\u202eb", "a\ud800b"]
)
def test_any_other_text_is_refused_naming_its_field(given):
    """Lesson 26."""
    with pytest.raises(InvalidRequest, match=r"^recipient: "):
        checked_free_text(given, field="recipient")


# Numbers of files


@pytest.mark.parametrize("asked", [None, 1])
def test_who_asks_for_the_free_number_or_for_none_gets_it(asked):
    require_next_number(asked, 1)


@pytest.mark.parametrize("asked", [-1, 0, 2, 10**30])
def test_who_asks_for_another_number_is_told_the_right_one(asked):
    with pytest.raises(WrongFileNumber) as refused:
        require_next_number(asked, 1)
    assert refused.value.members == {"next_number": 1}


@pytest.mark.parametrize("letter", ['"', "\N{LATIN SMALL LETTER E WITH ACUTE}", "\N{EURO SIGN}", "\N{GRINNING FACE}"])
def test_the_longest_name_and_path_fit_into_their_sealed_form_however_a_program_escapes_it(letter):
    name = letter * (MAX_NAME_BYTES // len(letter.encode()))
    media_type, path = f"{'a' * 60}/{'b' * 60}", f"{name}/{name}"
    made = replace(FileMeta.checked(name, media_type, path), crc32=2**32 - 1).to_json()
    assert len(made) <= MAX_JSON_BYTES
    assert len(json.dumps(json.loads(made), ensure_ascii=True, indent=2)) <= MAX_JSON_BYTES
