"""Lesson 35: a kept checkpoint is compared with the log, and the proof is verified without the service."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, update

from app.actions.prove_consistency import prove_consistency
from app.actions.renew_log import renew_log
from app.actions.sign_checkpoint import sign_checkpoint
from app.actions.verify_consistency import verify_consistency
from app.crypto.errors import CryptoError
from app.crypto.signed_note import Checkpoint, Signer, new_signing_key
from app.db.tables import audit_entries, audit_nodes
from app.domain.audit_events import RenewalReason
from app.domain.consistency import Outcome
from app.domain.errors import CheckpointNotFound, InvalidRequest
from tests.full_rights import take_full_rights
from tests.integration.actions.stories import send

VERIFIER = Path(__file__).parents[2] / "independent_log_verifier.py"


@pytest.fixture
def kept(resources, signing, caller):
    """Last week's checkpoint; the log has grown since and was signed again."""
    for _ in range(3):
        send(resources, caller)
    sign_checkpoint(resources, signing)
    note = signing.last_checkpoint()
    for _ in range(4):
        send(resources, caller)
    sign_checkpoint(resources, signing)
    return note


def test_growth_is_proved_and_verified_offline_by_two_programs(resources, signing, kept, tmp_path):
    found = prove_consistency(resources, kept)
    assert (found.outcome, found.verified) == (Outcome.CONSISTENT, True)
    assert found.proof is not None
    verdict = verify_consistency(found.proof, kept, found.public_key)
    assert (verdict.kept_size, verdict.size) == (found.kept.size, found.newest.size)
    files = {"key": found.public_key, "proof": found.proof, "kept": kept}
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")

    def by_others_means():
        arguments = [sys.executable, "-I", str(VERIFIER), "key", "consistency", "proof", "kept"]
        return subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert by_others_means().stdout == f"verified: {verdict.kept_size} {verdict.size}\n"
    hashes = found.proof.split("\n")
    for altered in (
        found.proof.replace(hashes[1], hashes[2], 1),
        found.proof.replace(hashes[1] + "\n", "", 1),
        found.proof.replace("old ", "old 1", 1),
        found.proof.replace(f"\n{found.newest.size}\n", f"\n{found.newest.size + 1}\n"),
    ):
        (tmp_path / "proof").write_text(altered, "utf-8")
        assert by_others_means().returncode == 1
        with pytest.raises(CryptoError):
            verify_consistency(altered, kept, found.public_key)


def test_a_checkpoint_is_read_as_mails_and_text_areas_leave_it(resources, kept):
    for text in (kept.strip(), kept.replace("\n", "\r\n"), f"\n  {kept}\n\n"):
        assert prove_consistency(resources, text).verified


def test_the_newest_checkpoint_is_consistent_with_itself(resources, signing, kept):
    found = prove_consistency(resources, signing.last_checkpoint())
    assert found.proof is not None
    verify_consistency(found.proof, signing.last_checkpoint(), found.public_key)


@pytest.mark.parametrize("tampering", ["nodes", "leaves"])
def test_an_altered_tree_is_never_called_consistent(resources, kept, tampering):
    """With full rights on the database, whatever is written there. Missing nodes are computed from the leaves."""
    changes: dict[str, list[Any]] = {
        "nodes": [update(audit_nodes).values(hash=bytes(32))],
        "leaves": [delete(audit_nodes), update(audit_entries).values(leaf_hash=bytes(32))],
    }
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        for change in changes[tampering]:
            transaction.connection.execute(change)
    found = prove_consistency(resources, kept)
    assert (found.outcome, found.proof) == (Outcome.DIFFERENT, None)


def test_a_log_shorter_than_the_checkpoint_is_named(resources, signing, kept):
    newest = signing.last_checkpoint()
    signing.keep(kept)  # the folder and the database were restored
    assert prove_consistency(resources, newest).outcome == Outcome.LOG_IS_SHORTER


def test_a_checkpoint_that_this_log_did_not_sign_is_no_basis(resources, kept):
    origin = kept.partition("\n")[0]
    forged = Signer(origin, new_signing_key()).sign(Checkpoint(origin, 3, bytes(32)).body())
    other = Signer("elsewhere", new_signing_key()).sign(Checkpoint("elsewhere", 3, bytes(32)).body())
    changed = kept.replace("\n11\n", "\n10\n")
    outcomes = [prove_consistency(resources, note).outcome for note in (forged, other, changed)]
    assert outcomes == [Outcome.NOT_SIGNED, Outcome.OTHER_ORIGIN, Outcome.NOT_SIGNED]


@pytest.mark.parametrize("reason", [RenewalReason.LOG_DAMAGED, RenewalReason.KEY_EXPOSED])
def test_a_renewed_log_explains_the_origin_of_a_kept_checkpoint(resources, signing, kept, reason):
    """With the same key and with a new one: the entries are still there."""
    renewed = renew_log(resources, signing, reason)
    sign_checkpoint(resources, signing)
    found = prove_consistency(resources, kept)
    assert (found.outcome, found.verified, found.proof) == (Outcome.RENEWED, False, None)
    assert found.explained_by is not None
    assert (found.explained_by.sequence, found.explained_by.lost) == (renewed.sequence, 0)


def test_what_the_log_does_not_explain_stays_another_origin(resources, signing, kept):
    """A forged checkpoint of the closed origin; a renewal that was changed after it was signed; one not signed yet."""
    origin = kept.partition("\n")[0]
    forged = Signer(origin, new_signing_key()).sign(Checkpoint(origin, 3, bytes(32)).body())
    renewed = renew_log(resources, signing, RenewalReason.LOG_DAMAGED)
    sign_checkpoint(resources, signing)
    assert prove_consistency(resources, forged).outcome == Outcome.OTHER_ORIGIN
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        content = func.replace(audit_entries.c.content, "log_damaged", "key_exposed")
        row = audit_entries.c.sequence == renewed.sequence
        transaction.connection.execute(update(audit_entries).where(row).values(content=content))
    assert prove_consistency(resources, kept).outcome == Outcome.OTHER_ORIGIN


def test_what_is_no_checkpoint_is_refused(resources, kept):
    for text in ("", "nonsense", kept.split("\n")[0], "\0", kept.replace("\n", " "), "x" * 70_000):
        with pytest.raises(InvalidRequest):
            prove_consistency(resources, text)


def test_before_the_first_checkpoint_there_is_nothing_to_compare(resources):
    with pytest.raises(CheckpointNotFound):
        prove_consistency(resources, "x")
