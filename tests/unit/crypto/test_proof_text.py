"""Checkpoints, receipts and keys as mail, editors and shells leave them; and wrong files, which are named."""

import pytest

from app.crypto.errors import NoteInvalid
from app.crypto.proof_text import KEY_LABEL, Kind, decoded, kind_of, proof_text, public_key_text
from app.crypto.signed_note import Checkpoint, Signer, Verifier, new_signing_key

ORIGIN = "caducee.log/abc"
SIGNER = Signer(ORIGIN, bytes(range(32)))
NOTE = SIGNER.sign(Checkpoint(ORIGIN, 7, bytes(32)).body())
KEY = SIGNER.verifier_key

LEFT = {
    "CRLF": NOTE.replace("\n", "\r\n").encode(),
    "CR": NOTE.replace("\n", "\r").encode(),
    "no final newline": NOTE.rstrip().encode(),
    "byte-order mark": NOTE.encode("utf-8-sig"),
    "PowerShell": NOTE.replace("\n", "\r\n").encode("utf-16"),
    "ANSI": NOTE.encode("cp1252"),
    "indented": NOTE.replace("\n", "\n  ").encode(),
    "trailing spaces": NOTE.replace("\n", " \n").encode(),
    "no-break spaces": NOTE.replace(" ", "\u00a0").encode(),
    "more empty lines": NOTE.replace("\n\n", "\n\n\n").encode() + b"\n\n",
    "with the key above": f"{KEY_LABEL}{KEY}\n{NOTE}".encode(),
}


@pytest.mark.parametrize("left", LEFT)
def test_a_checkpoint_is_restored_to_what_was_signed(left):
    text = decoded(LEFT[left])
    assert kind_of(text) is Kind.CHECKPOINT
    assert proof_text(text) == NOTE
    Verifier.parse(KEY).verify(proof_text(text))


def test_a_changed_checkpoint_stays_changed():
    for changed in (NOTE.replace("\n7\n", "\n8\n"), NOTE.replace(ORIGIN, f"{ORIGIN}d")):
        with pytest.raises(NoteInvalid):
            Verifier.parse(KEY).verify(proof_text(changed))


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"{KEY_LABEL}{KEY}\r\n",
        f"\ufeff{KEY}\r\n",
        f"Clé publique du journal\u00a0: {KEY}",
        f"Public key of the log\t{KEY}",
        f"{KEY_LABEL}{KEY}\n{NOTE}",
    ],
)
def test_a_key_is_found_in_the_line_that_was_printed(text):
    assert public_key_text(text) == KEY


def test_several_keys_are_no_key():
    two = f"{KEY}\n{Signer('other', new_signing_key()).verifier_key}\n"
    with pytest.raises(NoteInvalid):
        Verifier.parse(public_key_text(two))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", Kind.NOTHING),
        (" \r\n\n", Kind.NOTHING),
        (KEY, Kind.PUBLIC_KEY),
        (NOTE.partition("\n\n")[0], Kind.CUT_CHECKPOINT),
        (NOTE.replace("\n\n", "\n"), Kind.CUT_CHECKPOINT),
        ("c2sp.org/tlog-proof@v1\nextra AA==\n", Kind.RECEIPT),
        ("old 3\nAA==\n", Kind.CONSISTENCY_PROOF),
        ('{"kind":"log","format":"caducee-audit-export/1"}\n', Kind.LOG_EXPORT),
        ('{"note": "x"}', Kind.JSON),
        ("<!doctype html>", Kind.PAGE),
        ("Dear colleague", Kind.OTHER),
    ],
)
def test_what_is_no_checkpoint_is_named(text, kind):
    assert kind_of(text) is kind


def test_what_is_no_text_is_refused():
    for data in (b"\x89PNG\0\x81", bytes(10)):
        with pytest.raises(NoteInvalid):
            decoded(data)
