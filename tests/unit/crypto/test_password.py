"""Passwords survive telephones and mail programs, and are stretched exactly as RFC 9106 says."""

import re

import pytest
from argon2.exceptions import HashingError
from hypothesis import given
from hypothesis import strategies as st

from app.crypto import password, stretching
from app.crypto.errors import CryptoError, MalformedSecret
from app.crypto.password import new_password, normalise
from app.crypto.stretching import Argon2Parameters, new_salt, stretch

CHEAP = Argon2Parameters(time=1, memory_kib=8, lanes=1)


def test_new_passwords_have_80_bits_in_four_groups():
    """16 characters out of 32, all of which occur."""
    passwords = {new_password() for _ in range(500)}
    assert len(passwords) == 500
    assert all(re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}", each) for each in passwords)
    assert set("".join(passwords)) == set(password.ALPHABET) | {"-"}


def test_vectors_of_what_people_type(wrapping_vectors):
    """Independent examples, accepted and refused."""
    for case in wrapping_vectors["passwords"]:
        if case["normalised"] is None:
            with pytest.raises(MalformedSecret):
                normalise(case["typed"])
        else:
            assert normalise(case["typed"]) == case["normalised"]


@given(st.text(alphabet=password.ALPHABET, min_size=16, max_size=16), st.lists(st.integers(0, 16), max_size=6))
def test_fillers_and_case_never_matter(characters, places):
    """Dashes and spaces anywhere, in lower case."""
    typed = characters.lower()
    for place in places:
        typed = typed[:place] + "\u2013 " + typed[place:]
    assert normalise(typed) == characters


@given(st.text(max_size=300))
def test_normalise_returns_a_password_or_refuses(text):
    """Whatever is typed, nothing else comes out, and doing it twice changes nothing."""
    try:
        normalised = normalise(text)
    except MalformedSecret:
        return
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{16}", normalised)
    assert normalise(normalised) == normalised


def test_megabytes_of_dashes_are_refused_at_once():
    """A password field is no place for a denial of service."""
    with pytest.raises(MalformedSecret):
        normalise("0123-4567-89AB-CDEF" + "-" * 10_000_000)


def test_refusal_does_not_contain_the_password():
    """Nearly right passwords must not reach a log."""
    with pytest.raises(MalformedSecret) as caught:
        normalise("GHJK-MNPQ-RSTV-WXY")
    assert "GHJK" not in repr(caught.value)


def test_stretch_vectors(wrapping_vectors):
    """Argon2id, version 0x13, with cheap and with the default parameters."""
    for case in wrapping_vectors["stretching"]:
        parameters = Argon2Parameters(case["time"], case["memory_kib"], case["lanes"])
        stretched = stretch(case["password"], bytes.fromhex(case["salt"]), parameters)
        assert stretched.hex() == case["stretched"]


def test_default_is_the_second_recommendation_of_rfc_9106():
    """t=3, 64 MiB, p=4; the vectors include it."""
    assert Argon2Parameters() == Argon2Parameters(time=3, memory_kib=64 * 1024, lanes=4)


def test_stretch_depends_on_password_and_salt():
    """Any other input, another output."""
    one, other = new_salt(), new_salt()
    assert len(one) == 16
    assert len({stretch(p, s, CHEAP) for p in ("0" * 16, "0" * 15 + "1") for s in (one, other)}) == 4


def test_malformed_password_costs_no_hashing():
    """Refused before memory is taken: these parameters could not run."""
    with pytest.raises(MalformedSecret):
        stretch("nonsense", new_salt(), Argon2Parameters(time=2**32 - 1))


def test_wrong_salt_length_is_a_bug_of_the_caller():
    """16 bytes (docs/security.md)."""
    with pytest.raises(ValueError, match="16 bytes"):
        stretch("0" * 16, b"short", CHEAP)


def test_lack_of_memory_is_our_own_error(monkeypatch):
    """A library error is wrapped, and the password is not in it."""

    def fail(*_arguments, **_options):
        raise HashingError("Memory allocation error")

    monkeypatch.setattr(stretching, "hash_secret_raw", fail)
    with pytest.raises(CryptoError, match="Argon2id could not run") as caught:
        stretch("0" * 16, new_salt(), CHEAP)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "bad",
    [
        {"time": 0},
        {"time": 2**32},
        {"lanes": 0},
        {"lanes": 2**24, "memory_kib": 2**28},
        {"memory_kib": 31},
        {"memory_kib": 2**32},
        {"memory_kib": 7, "lanes": 1},
    ],
)
def test_parameters_outside_rfc_9106_are_refused(bad):
    """Its minimums, and the limits of the library."""
    with pytest.raises(ValueError, match="Argon2"):
        Argon2Parameters(**bad)
