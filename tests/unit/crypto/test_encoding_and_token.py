"""Ids, secrets and access tokens have exactly one spelling, and nothing malformed gets past the door."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.crypto import token
from app.crypto.encoding import decode, encode
from app.crypto.errors import MalformedSecret

NOT_CANONICAL = ["A", "AAAAA", "AB", "AA==", "AA=", "A A", "AA\n", "+A", "/A", "é", "AAB", "\u0661\u0661"]


@given(st.binary(max_size=100))
def test_decode_returns_what_encode_wrote(data):
    """Round trip."""
    assert decode(encode(data), length=len(data)) == data


@pytest.mark.parametrize("text", NOT_CANONICAL)
def test_not_canonical_is_refused(text):
    """Padding, foreign characters, impossible lengths and stray bits."""
    with pytest.raises(MalformedSecret):
        decode(text)


@given(st.text(alphabet="ABab01-_=+ \n", max_size=8))
def test_whatever_decodes_has_one_spelling(text):
    """No second text leads to the same bytes."""
    try:
        data = decode(text)
    except MalformedSecret:
        return
    assert encode(data) == text


def test_wrong_length_is_refused():
    """A secret of 31 bytes is none."""
    with pytest.raises(MalformedSecret):
        decode(encode(bytes(31)), length=32)


def test_error_does_not_contain_the_value():
    """What was typed may be a secret."""
    with pytest.raises(MalformedSecret) as caught:
        decode("SECRETSECRET=")
    assert "SECRET" not in repr(caught.value)


@given(st.binary(max_size=100))
def test_the_id_of_a_content_is_an_id_and_always_the_same(content):
    """No dash in front here either, for whatever content."""
    text = token.id_of(content)
    assert token.is_id(text)
    assert not text.startswith("-")
    assert token.id_of(bytes(content)) == text
    assert token.id_of(content + b"x") != text


def test_ids_are_22_characters_and_differ():
    """128 random bits."""
    ids = {token.new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(each) == 22 and token.is_id(each) for each in ids)


def test_no_id_begins_with_a_dash(monkeypatch):
    """A command would take it for an option; docs/cli.md says that none does."""
    dashed = b"\xfb" + bytes(15)
    drawn = iter([dashed, bytes(16)])
    monkeypatch.setattr("app.crypto.token.secrets.token_bytes", lambda _count: next(drawn))
    assert encode(dashed).startswith("-")
    assert token.new_id() == "A" * 22


@pytest.mark.parametrize(
    "text", ["", "A" * 21, "A" * 23, "A" * 21 + "B", "A" * 21 + "=", "A" * 21 + "\n", "../" * 7 + "A"]
)
def test_what_is_no_id(text):
    """Other lengths, stray bits, and paths."""
    assert not token.is_id(text)


def test_secrets_are_32_bytes_and_differ():
    """256 random bits."""
    assert len({token.new_secret() for _ in range(100)}) == 100
    assert len(token.new_secret()) == 32


def test_digest_is_sha256():
    """Known answer: SHA-256 of "abc", given as bytes or as text."""
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert token.digest(b"abc").hex() == token.digest("abc").hex() == token.digest(bytearray(b"abc")).hex() == expected


def test_digest_of_broken_unicode_does_not_leak():
    """A UnicodeEncodeError would carry the whole text."""
    with pytest.raises(MalformedSecret) as caught:
        token.digest("hush\ud800")
    assert "hush" not in repr(caught.value)
    assert caught.value.__suppress_context__


def test_same_tells_equal_bytes_from_others():
    """Equal and unequal, of equal and unequal length."""
    assert token.same(b"abc", b"abc")
    assert not token.same(b"abc", b"abd")
    assert not token.same(b"abc", b"ab")


def test_access_token_passes_its_own_check():
    """Shape: prefix, 43 characters, 6 of checksum."""
    text = token.new_access_token()
    token.check_access_token(text)
    assert text.startswith("cad_")
    assert len(text) == 53
    assert token.access_token_digest(text) == token.digest(text)


def test_any_mistyped_character_of_an_access_token_is_refused():
    """The checksum covers the prefix and every character."""
    text = token.new_access_token()
    for i, character in enumerate(text):
        other = "A" if character != "A" else "B"
        with pytest.raises(MalformedSecret):
            token.check_access_token(text[:i] + other + text[i + 1 :])


def test_access_token_with_a_second_spelling_is_refused():
    """Stray bits after the last byte, under a checksum that is right."""
    body = "cad_" + "A" * 42 + "B"
    with pytest.raises(MalformedSecret, match="access token"):
        token.check_access_token(body + token._checksum(body))


def test_malformed_access_tokens_are_refused():
    """Truncated, extended, with white space, in another alphabet."""
    text = token.new_access_token()
    for bad in ["", "cad_", text[:-1], text + "A", f" {text}", f"{text}\n", text.upper(), "é" * 53, "cad_" + "A" * 49]:
        with pytest.raises(MalformedSecret):
            token.check_access_token(bad)
