"""The names of the vault's entries and the places they make: no other string ever becomes a path."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.crypto.encoding import encode
from app.domain.vault_entry import EntryName
from app.storage.hour_folder import hour_of, is_understood, name_at, place_of
from app.storage.key_vault import label_of

TRANSFER = "AAAAAAAAAAAAAAAAAAAAAA"
SHARE = "BBBBBBBBBBBBBBBBBBBBBA"
EXPIRY = datetime(2026, 3, 1, 14, 59, 59, tzinfo=UTC)

ids = st.binary(min_size=16, max_size=16).map(encode)
expiries = st.integers(min_value=0, max_value=253_402_300_799).map(lambda unix: datetime.fromtimestamp(unix, UTC))
keys = st.builds(EntryName, ids, expiries, st.none() | ids)
names = keys | st.builds(EntryName, ids, expiries, ids, st.just(True))


@given(names)
def test_a_name_comes_back_from_its_place(name):
    assert name_at(*place_of(name)) == name


@given(names)
def test_a_place_is_two_plain_components(name):
    place = PurePosixPath(*place_of(name))
    assert len(place.parts) == 2
    assert ".." not in place.parts


@given(names, names)
def test_two_names_never_share_a_place(one, other):
    assert (place_of(one) == place_of(other)) == (one == other)


@given(keys, keys)
def test_two_keys_never_share_a_label(one, other):
    assert (label_of(one) == label_of(other)) == (one == other)


def test_the_record_of_a_claim_lies_beside_the_shares_key_and_has_no_label():
    record = EntryName(TRANSFER, EXPIRY, SHARE).of_claim
    assert place_of(record) == ("2026-03-01T14", f"1772377199.{TRANSFER}.{SHARE}.claimed")
    with pytest.raises(ValueError, match="no key"):
        label_of(record)
    with pytest.raises(ValueError, match="only a share"):
        _ = EntryName(TRANSFER, EXPIRY).of_claim


@given(names, st.sampled_from(["", ".00112233445566aa.new"]))
def test_entries_and_what_their_writers_leave_behind_are_understood(name, suffix):
    hour, file_name = place_of(name)
    written_so = name.claimed or not suffix  # an entry is never written under another name
    assert is_understood(hour, f"{file_name}{suffix}") == written_so


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_other_file_is_no_entry(hour, file_name):
    found = name_at(hour, file_name)
    assert found is None or place_of(found) == (hour, file_name)


@pytest.mark.parametrize(
    "file_name",
    [
        "hour.key",
        "hour.key.00ff.new",
        f"1772377199.{TRANSFER}.{SHARE}.x",
        f"1772377199.{TRANSFER}.{SHARE}.claimed.claimed",
        f"1772377199.{TRANSFER}.claimed",
        f"01772377199.{TRANSFER}",
        f"+1772377199.{TRANSFER}",
        f" 1772377199.{TRANSFER}",
        f"1_772_377_199.{TRANSFER}",
        f"99999999999999999999.{TRANSFER}",
        f"-1.{TRANSFER}",
        f"1772377200.{TRANSFER}",  # the second after: another hour
        "1772377199",
        "1772377199.",
    ],
)
def test_what_only_looks_like_an_entry_is_none(file_name):
    assert name_at("2026-03-01T14", f"1772377199.{TRANSFER}") is not None
    assert name_at("2026-03-01T14", file_name) is None
    assert is_understood("2026-03-01T14", file_name) == file_name.startswith("hour.key") * ("00ff" not in file_name)


@pytest.mark.parametrize(
    "bad", ["", "../../../etc/passwd", "..", "A" * 21, "A" * 23, "A" * 21 + "/", "A" * 21 + "\0", "é" * 22]
)
def test_ids_that_are_none_are_refused(bad):
    """No string a user sends reaches a path (CrushFTP CVE-2024-4040)."""
    with pytest.raises(ValueError, match="ids"):
        EntryName(bad, EXPIRY)
    with pytest.raises(ValueError, match="ids"):
        EntryName(TRANSFER, EXPIRY, bad)


@pytest.mark.parametrize(
    "expires_at",
    [
        EXPIRY.replace(microsecond=1),
        EXPIRY.replace(tzinfo=None),
        EXPIRY.astimezone(timezone(timedelta(hours=1))),
        datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    ],
)
def test_an_expiry_is_a_whole_second_in_utc(expires_at):
    with pytest.raises(ValueError, match="expires at a"):
        EntryName(TRANSFER, expires_at)


def test_labels_are_those_of_the_format():
    assert label_of(EntryName(TRANSFER, EXPIRY)) == f"caducee/v1 shred {TRANSFER} 1772377199"
    assert label_of(EntryName(TRANSFER, EXPIRY, SHARE)) == f"caducee/v1 share shred {TRANSFER} {SHARE} 1772377199"


def test_an_expiry_on_the_full_hour_belongs_to_the_hour_it_begins():
    on_the_hour = EXPIRY + timedelta(seconds=1)
    assert hour_of(EXPIRY) == "2026-03-01T14"
    assert hour_of(on_the_hour) == "2026-03-01T15"
    assert place_of(EntryName(TRANSFER, on_the_hour))[0] == "2026-03-01T15"


def test_an_hour_is_named_in_utc():
    assert hour_of(EXPIRY.astimezone(timezone(timedelta(hours=-5)))) == "2026-03-01T14"
    with pytest.raises(ValueError, match="zone"):
        hour_of(EXPIRY.replace(tzinfo=None))
