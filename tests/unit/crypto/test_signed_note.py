"""Checkpoints that others can verify; notes altered, unsigned or signed by somebody else are refused."""

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.crypto.errors import NoteInvalid
from app.crypto.merkle import EMPTY_ROOT
from app.crypto.signed_note import Checkpoint, Signer, Verifier, new_signing_key

SIGNER = Signer("caducee.example/log", bytes(range(32)))
VERIFIER = Verifier.parse(SIGNER.verifier_key)
OTHER = Signer("caducee.example/log", bytes(32))
TEXT = "one\n\ntwo é\n"
ROOT_LINE = b64encode(bytes(32)).decode()
# RFC 8032 section 7.1, test 1.
RFC_8032_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_8032_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def test_foreign_note_verifies(note_vector):
    """The worked example of Go's note package."""
    text = Verifier.parse(note_vector["verifier_key"]).verify(note_vector["note"])
    assert text == note_vector["note"].partition("\n\n")[0] + "\n"


def test_public_key_is_that_of_rfc_8032():
    """The private key is the RFC's seed; the encoded key itself may contain a plus."""
    encoded = Signer("x", RFC_8032_SEED).verifier_key.split("+", 2)[2]
    assert b64decode(encoded) == b"\x01" + RFC_8032_PUBLIC


@given(st.text(alphabet=st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=50))
def test_round_trip(line):
    """Any line of text, empty lines included."""
    for text in (line + "\n", line + "\n\n" + line + "\n", "\n" + line + "\n"):
        assert VERIFIER.verify(SIGNER.sign(text)) == text


def test_every_altered_byte_is_refused():
    """Text, separator, name, key id or signature."""
    note = SIGNER.sign(TEXT)
    for i, character in enumerate(note):
        for other in {"A", "\n", " "} - {character}:
            with pytest.raises(NoteInvalid):
                VERIFIER.verify(note[:i] + other + note[i + 1 :])


def test_every_truncated_note_is_refused():
    """From nothing to all but the last newline."""
    note = SIGNER.sign(TEXT)
    for length in range(len(note)):
        with pytest.raises(NoteInvalid):
            VERIFIER.verify(note[:length])


def test_wrong_key_is_refused():
    """The same name with another key, and the same key under another name."""
    for signer in (OTHER, Signer("caducee.example/other", bytes(range(32)))):
        with pytest.raises(NoteInvalid, match="not signed by the expected key"):
            VERIFIER.verify(signer.sign(TEXT))


def test_signatures_of_others_are_ignored():
    """Before or after ours, as witnesses add them."""
    note, foreign = SIGNER.sign(TEXT), OTHER.sign(TEXT).rpartition("\n\n")[2]
    witness = "— witness.example " + b64encode(b"1234" + bytes(100)).decode() + "\n"
    text, _, ours = note.rpartition("\n\n")
    assert VERIFIER.verify(text + "\n\n" + foreign + ours + witness) == TEXT


def test_one_wrong_signature_of_the_key_refuses_the_note():
    """Even beside a right one."""
    note = SIGNER.sign(TEXT)
    other_text = SIGNER.sign("other\n").rpartition("\n\n")[2]
    with pytest.raises(NoteInvalid, match="signature of the note is wrong"):
        VERIFIER.verify(note + other_text)


def test_extended_text_is_refused():
    """A signature block does not cover what is put before it."""
    with pytest.raises(NoteInvalid):
        VERIFIER.verify("three\n" + SIGNER.sign(TEXT))


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "\n",
        "\n\n",
        "text\n",
        "text\n\n",
        "text\n\nno dash\n",
        "text\n\n— name\n",
        "text\n\n— name \n",
        "text\n\n— name AAAA\n",
        "text\n\n— name !!!!!!!!\n",
        "text\n\n— na+me AAAAAAAA\n",
        "text\n\n—  AAAAAAAA\n",
        "te\txt\n\n— name AAAAAAAA\n",
        "te\ud800xt\n\n— name AAAAAAAA\n",
        "text\r\n\r\n— name AAAAAAAA\r\n",
        "text\n\n" + "— name AAAAAAAA\n" * 101,
        "x" * 1_000_001 + "\n\n— name AAAAAAAA\n",
    ],
)
def test_malformed_notes_are_refused(bad):
    """Whatever is not exactly a note."""
    with pytest.raises(NoteInvalid):
        VERIFIER.verify(bad)


@pytest.mark.parametrize("text", ["", "no newline", "a\tb\n", "a\r\n", "\ud800\n"])
def test_what_is_no_text_is_not_signed(text):
    """A bug of the caller."""
    with pytest.raises(ValueError, match="text of a note"):
        SIGNER.sign(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\tb"])
def test_names_with_spaces_or_plus_are_refused(name):
    """They would make signature lines and verifier keys ambiguous."""
    with pytest.raises(ValueError, match="name"):
        Signer(name, bytes(32))


def test_malformed_verifier_keys_are_refused():
    """Another hash, algorithm, length or spelling."""
    name, key_id, encoded = SIGNER.verifier_key.split("+", 2)
    key = b64decode(encoded)
    unknown = b64encode(b"\x04" + key[1:]).decode()
    for bad in [
        "",
        name,
        f"{name}+{key_id}",
        f"{name}+{key_id}+",
        f"{name}+00000000+{encoded}",
        f"{name}+{key_id.upper()}x+{encoded}",
        f"other+{key_id}+{encoded}",
        f"+{key_id}+{encoded}",
        f"{name}+{key_id}+{unknown}",
        f"{name}+{key_id}+{encoded[:-4]}",
        f"{name}+{key_id}+{encoded}\n",
        f"{name}+{key_id}+{b64encode(key + b'x').decode()}",
        f"{name}+{key_id}+é",
    ]:
        with pytest.raises(NoteInvalid):
            Verifier.parse(bad)


def test_signing_keys_are_random_and_never_shown():
    """32 bytes; neither the signer nor its refusals show them."""
    key = new_signing_key()
    assert len(key) == 32
    assert key != new_signing_key()
    assert key.hex() not in repr(Signer("name", key))
    with pytest.raises(ValueError, match="32 bytes") as caught:
        Signer("name", b"KKKK")
    assert "KKKK" not in str(caught.value)


@given(
    st.integers(0, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(st.text(alphabet="ab é+/", min_size=1), max_size=3),
)
def test_checkpoint_round_trip(size, root, extensions):
    """What is signed is what is read."""
    checkpoint = Checkpoint("caducee.example/log", size, root, tuple(extensions))
    assert Checkpoint.parse(VERIFIER.verify(SIGNER.sign(checkpoint.body()))) == checkpoint


def test_checkpoint_body_has_three_lines():
    """The example of the specification."""
    root = b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    body = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    assert Checkpoint("example.com/behind-the-sofa", 20852163, root).body() == body
    assert Checkpoint.parse(body) == Checkpoint("example.com/behind-the-sofa", 20852163, root)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "origin\n",
        "origin\n1\n",
        f"origin\n1\n{ROOT_LINE}",
        f"\n1\n{ROOT_LINE}\n",
        f"origin\n01\n{ROOT_LINE}\n",
        f"origin\n-1\n{ROOT_LINE}\n",
        f"origin\n+1\n{ROOT_LINE}\n",
        f"origin\n 1\n{ROOT_LINE}\n",
        f"origin\n1_0\n{ROOT_LINE}\n",
        f"origin\n\u0661\n{ROOT_LINE}\n",
        f"origin\n{2**63}\n{ROOT_LINE}\n",
        f"origin\n{'9' * 5000}\n{ROOT_LINE}\n",
        "origin\n1\nAAAA\n",
        f"origin\n1\n{ROOT_LINE[:-1]}\n",
        f"origin\n1\n{ROOT_LINE[:-2]}B=\n",
        f"origin\n1\n{ROOT_LINE}\n\n",
        f"origin\n1\n{ROOT_LINE}\n\nextension\n",
        f"origin\n1\n{ROOT_LINE}\na\tb\n",
    ],
)
def test_malformed_checkpoints_are_refused(bad):
    """One spelling for each checkpoint."""
    with pytest.raises(NoteInvalid):
        Checkpoint.parse(bad)


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 0, EMPTY_ROOT, ()),
        ("a\nb", 0, EMPTY_ROOT, ()),
        ("a", -1, EMPTY_ROOT, ()),
        ("a", 0, b"", ()),
        ("a", 0, EMPTY_ROOT, ("",)),
    ],
)
def test_impossible_checkpoints_cannot_be_made(origin, size, root, extensions):
    """So that `body` never writes what `parse` refuses."""
    with pytest.raises(ValueError, match=r"log|checkpoint"):
        Checkpoint(origin, size, root, extensions)


def test_a_note_of_a_hundred_signatures_is_read_and_a_longer_one_is_refused():
    """Each unknown signature costs a reader time; the limit is that of Go's note package."""
    note = SIGNER.sign(TEXT)
    line = note.splitlines(keepends=True)[-1]
    stranger = line.replace("caducee.example/log", "somebody.else")
    assert VERIFIER.verify(note + stranger * 99) == TEXT
    with pytest.raises(NoteInvalid):
        VERIFIER.verify(note + stranger * 100)


def test_a_note_of_a_million_characters_is_read_and_a_longer_one_is_refused():
    room = 1_000_000 - len(SIGNER.sign("\n"))
    assert VERIFIER.verify(SIGNER.sign("x" * room + "\n")) == "x" * room + "\n"
    with pytest.raises(NoteInvalid):
        VERIFIER.verify(SIGNER.sign("x" * (room + 1) + "\n"))
