"""Lesson 35: change, delete, reorder or truncate entries with full rights over the database: verification against an
older checkpoint names the place (MOVEit's log moves its own start). No automatic reset after tampering.
"""

import shutil
import sqlite3

import pytest

from app.actions.issue_access_token import issue_access_token
from app.actions.sign_checkpoint import LogRolledBack, sign_checkpoint
from app.actions.verify_log import verify_log
from app.domain.access_token import Role
from app.runtime.installation import open_resources
from app.runtime.settings import Settings
from app.storage.signing_folder import SigningFolder
from tests.acceptance.people import claim, send
from tests.acceptance.service import Installation
from tests.full_rights import drop_triggers


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """An installation whose log holds a few lives of files, all of it behind a checkpoint; stopped."""
    installation = Installation(tmp_path_factory.mktemp("signed"))
    with installation.serving() as server, server.http(installation.token()) as http:
        for _ in range(3):
            claim(http, send(http)).complete()
    installation.run("audit", "checkpoint")
    installation.run("audit", "verify")
    return installation


@pytest.fixture
def copy(signed, tmp_path):
    """A copy to alter."""
    installation = Installation(tmp_path / "copy")
    shutil.copytree(signed.data, installation.data)
    return installation


class Checked:
    """The log of an installation, verified in this process: hundreds of alterations, each undone afterwards."""

    def __init__(self, installation):
        settings = Settings(data_dir=installation.data, log_format="json")
        self.resources = open_resources(settings)
        self.signing = SigningFolder(settings.signing_dir)
        self.database = installation.database

    def verdict(self, *statements):
        """What verification says while these statements are in force."""
        with sqlite3.connect(self.database) as connection:
            drop_triggers(connection)
            for statement, values in statements:
                connection.execute(statement, values)
            connection.commit()
        connection.close()
        return verify_log(self.resources, self.signing)


@pytest.fixture
def checked(copy):
    checked = Checked(copy)
    yield checked
    checked.resources.close()


def test_a_changed_byte_of_any_entry_is_found(checked, copy):
    """Every byte of one entry, and some of every entry: each change is found, and its place is named."""
    entries = copy.rows("SELECT sequence, content FROM audit_entries ORDER BY sequence")
    assert len(entries) >= 18
    change, tried = "UPDATE audit_entries SET content = ? WHERE sequence = ?", 0
    for sequence, content in entries:
        places = range(len(content)) if sequence == 5 else range(sequence % 13, len(content), 61)
        for place in places:
            altered = content[:place] + chr(ord(content[place]) ^ 1) + content[place + 1 :]
            verdict = checked.verdict((change, (altered, sequence)))
            assert verdict.problem, f"entry {sequence}, byte {place}"
            assert verdict.sequence == sequence
            tried += 1
        assert checked.verdict((change, (content, sequence))).problem is None
    assert tried > 250


def test_a_number_far_beyond_the_others_is_found_at_once(checked, copy):
    """One UPDATE must not send the verification through all the numbers in between, or out of memory."""
    ((last,),) = copy.rows("SELECT max(sequence) FROM audit_entries")
    verdict = checked.verdict(("UPDATE audit_entries SET sequence = ? WHERE sequence = ?", (2**62, last)))
    assert (verdict.sequence, verdict.problem) == (2**62, "an entry stands beyond the last, after a gap")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET leaf_hash = zeroblob(32) WHERE sequence = 5",
        "UPDATE audit_entries SET content = NULL WHERE sequence = 5",
        "UPDATE audit_entries SET content = content || ' ' WHERE sequence = 5",
        "UPDATE audit_entries SET sequence = 100000 WHERE sequence = 5",
        "DELETE FROM audit_entries WHERE sequence = 5",
        "DELETE FROM audit_entries WHERE sequence = 0",
        "DELETE FROM audit_entries WHERE sequence = (SELECT max(sequence) FROM audit_entries)",
        "DELETE FROM audit_entries WHERE sequence > 5",
        "DELETE FROM audit_entries",
        "UPDATE audit_entries SET sequence = -1 WHERE sequence = 5",
        "UPDATE audit_nodes SET hash = zeroblob(32) WHERE level = 1 AND position = 1",
        "DELETE FROM audit_nodes WHERE level = 2 AND position = 0",
        "UPDATE audit_checkpoints SET note = lower(note)",
        "UPDATE audit_checkpoints SET size = size + 1 WHERE size = (SELECT max(size) FROM audit_checkpoints)",
    ],
)
def test_rows_that_are_changed_removed_or_moved(copy, checked, statement):
    assert copy.alter(statement) > 0
    assert checked.verdict().problem


def test_the_command_exits_1_and_names_the_first_entry_that_fails(copy):
    """What an auditor runs."""
    copy.alter("UPDATE audit_entries SET content = replace(content, 'operator', 'somebody')")
    verdict = copy.run("audit", "verify", "--json", code=1).json
    assert (verdict["verified"], verdict["sequence"]) == (False, 1)
    assert "(entry 1)" in copy.run("audit", "verify", code=1).out


def test_two_entries_that_change_places(checked):
    swap = [
        ("UPDATE audit_entries SET sequence = -1 WHERE sequence = 4", ()),
        ("UPDATE audit_entries SET sequence = 4 WHERE sequence = 5", ()),
        ("UPDATE audit_entries SET sequence = 5 WHERE sequence = -1", ()),
    ]
    assert checked.verdict(*swap).sequence == 4


def test_a_log_that_is_rewritten_whole_fails_against_the_checkpoint_outside_the_database(checked, copy):
    """Full rights over the database, hashes and nodes recomputed: the signed root is still another one."""
    import json

    from app.crypto import merkle

    content = copy.rows("SELECT content FROM audit_entries WHERE sequence = 5")[0][0]
    forged = json.loads(content) | {"actor": "somebody-else"}
    forged_text = json.dumps(forged, sort_keys=True, separators=(",", ":"))
    rows = dict(copy.rows("SELECT sequence, content FROM audit_entries")) | {5: forged_text}
    statements: list[tuple[str, tuple[object, ...]]] = [
        (
            "UPDATE audit_entries SET content = ?, leaf_hash = ? WHERE sequence = 5",
            (forged_text, merkle.leaf_hash(forged_text.encode())),
        ),
        ("DELETE FROM audit_nodes", ()),
        ("DELETE FROM audit_checkpoints", ()),
    ]
    nodes: dict[tuple[int, int], bytes] = {}
    for sequence in range(len(rows)):
        leaf = merkle.leaf_hash(rows[sequence].encode())
        nodes[0, sequence] = leaf
        for level, position, value in merkle.nodes_completed_by(sequence, leaf, lambda lv, p: nodes[lv, p]):
            nodes[level, position] = value
            statements.append(("INSERT INTO audit_nodes VALUES (?, ?, ?)", (level, position, value)))
    verdict = checked.verdict(*statements)
    assert verdict.problem
    assert "signed" in verdict.problem


@pytest.mark.parametrize("what", ["cut", "altered"])
def test_nothing_is_signed_over_a_log_that_does_not_contain_what_was_signed(checked, copy, what):
    """No automatic reset: the signer refuses, loudly, until somebody decides."""
    if what == "cut":
        copy.alter("DELETE FROM audit_entries WHERE sequence > 5")
    else:
        copy.alter("UPDATE audit_nodes SET hash = zeroblob(32) WHERE level = 4 AND position = 0")
    issue_access_token(checked.resources, name="new", role=Role.STAFF, lifetime=None)  # something to sign
    before = checked.signing.last_checkpoint()
    with pytest.raises(LogRolledBack):
        sign_checkpoint(checked.resources, checked.signing)
    assert checked.signing.last_checkpoint() == before


def test_the_time_column_of_an_entry_cannot_tell_another_story(copy):
    """Beside its content a row carries the time for searching; it must be the content's own."""
    assert copy.alter("UPDATE audit_entries SET at = at - 86400000000 WHERE sequence = 5") == 1
    copy.run("audit", "verify", code=1)
