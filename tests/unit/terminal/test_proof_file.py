"""Files for verification: a wrong or missing one is a mistake on the command line, not a log that was tampered with."""

import pytest

from app.crypto.signed_note import Checkpoint, Signer
from app.terminal.console import one_line
from app.terminal.proof_file import WrongFile, checkpoint_in, consistency_proof_in, public_key_in, receipt_in

SIGNER = Signer("caducee.log/abc", bytes(range(32)))
NOTE = SIGNER.sign(Checkpoint("caducee.log/abc", 7, bytes(32)).body())


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (checkpoint_in, SIGNER.verifier_key, "is not a checkpoint: it seems to be a public key"),
        (checkpoint_in, "", "is not a checkpoint: it is empty"),
        (public_key_in, NOTE, "is not a public key: it seems to be a checkpoint"),
        (public_key_in, SIGNER.verifier_key.replace("+", "+0", 1)[:-8], "is not a public key"),
        (receipt_in, NOTE, "is not a receipt of deletion: it seems to be a checkpoint"),
        (consistency_proof_in, "<html>", "is not a consistency proof: it seems to be a saved page"),
    ],
)
def test_a_wrong_file_is_named_with_what_it_seems_to_be(tmp_path, read, text, said):
    file = tmp_path / "given"
    file.write_text(text, "utf-8")
    with pytest.raises(WrongFile, match=said) as raised:
        read(file)
    assert str(file) in str(raised.value)


def test_a_missing_file_is_a_sentence(tmp_path):
    for file in (tmp_path / "missing", tmp_path):
        with pytest.raises(OSError) as raised:  # noqa: PT011 - which one depends on the path
            checkpoint_in(file)
        assert str(file) in one_line(raised.value)
        assert "Errno" not in one_line(raised.value)
