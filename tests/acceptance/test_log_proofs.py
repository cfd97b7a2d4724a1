"""Proofs of the log as a depositor, a DPO and an auditor get and check them: over HTTP, by command, and offline."""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from app.actions.prune_log import prune_log
from app.runtime.installation import open_resources
from app.runtime.settings import Settings
from tests.acceptance.people import claim, ok, send, wrong_secret
from tests.acceptance.service import Installation, until
from tests.acceptance.warm_start import PROGRAM

VERIFIER = Path(__file__).parents[1] / "independent_log_verifier.py"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """An auditor's desk: no data folder, no settings, nothing of the service's."""
    return tmp_path_factory.mktemp("desk")


@pytest.fixture
def public_key(house, desk):
    shown = house.installation.run("audit", "checkpoint", "--json").json
    (desk / "log.pub").write_text(shown["public_key"] + "\n")
    (desk / "kept").write_text(shown["note"], encoding="utf-8")
    return desk / "log.pub"


def at_the_desk(desk, *arguments, code=0):
    """A command far from the service. Its data folder, were it touched, would be made in the desk."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CADUCEE_")}
    done = subprocess.run([PROGRAM, *arguments], cwd=desk, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert not (desk / "var").exists()
    return done.stdout


def by_others_means(*arguments):
    """The independent verifier, in a process that could not import the service if it wanted to."""
    return subprocess.run([sys.executable, "-I", VERIFIER, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def gone(staff, anyone):
    """A transfer that was fetched, completed and deleted."""
    share = send(staff)
    claim(anyone, share).complete()
    path = f"/api/v1/transfers/{share.transfer_id}"
    until(lambda: ok(staff.get(path), 200)["state"] == "verified", what="deletion")
    return share.transfer_id


def receipt_of(staff, transfer):
    return until(
        lambda: (answer := staff.get(f"/api/v1/transfers/{transfer}/receipt")).status_code == 200 and answer,
        what="a checkpoint",
    )


def test_a_depositor_gets_a_receipt_that_anybody_can_check_offline(house, staff, gone, desk, public_key):
    answer = receipt_of(staff, gone)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith("c2sp.org/tlog-proof@v1\nextra ")
    receipt = desk / "receipt.tlog-proof"
    receipt.write_bytes(answer.content)
    assert gone in at_the_desk(desk, "audit", "verify-receipt", str(receipt), "--public-key", str(public_key))
    assert gone in by_others_means(public_key, "receipt", receipt).stdout
    assert house.installation.run("audit", "receipt", "--", gone).out.startswith("c2sp.org/tlog-proof@v1\nextra ")
    receipt.write_bytes(answer.content.replace(b"index ", b"index 1"))
    assert "NOT verified" in at_the_desk(
        desk, "audit", "verify-receipt", str(receipt), "--public-key", str(public_key), code=1
    )
    assert by_others_means(public_key, "receipt", receipt).returncode == 1


def test_a_receipt_is_for_what_is_gone_and_for_its_depositor(house, staff, colleague, anyone, gone):
    held = send(staff).transfer_id
    assert ok(staff.get(f"/api/v1/transfers/{held}/receipt"), 409)["code"] == "not_deleted_yet"
    assert ok(colleague.get(f"/api/v1/transfers/{gone}/receipt"), 404)["code"] == "transfer_not_found"
    assert ok(anyone.get(f"/api/v1/transfers/{gone}/receipt"), 401)["code"] == "not_authenticated"
    assert "not_deleted_yet" in house.installation.run("audit", "receipt", "--", held, code=1).err


def test_an_export_is_checked_without_the_data_folder(house, gone, desk, public_key):
    exported = desk / "log.jsonl"
    exported.write_text(house.installation.run("audit", "export").out, encoding="utf-8")
    check = (
        "audit",
        "verify",
        "--export",
        str(exported),
        "--public-key",
        str(public_key),
        "--since",
        str(desk / "kept"),
    )
    assert at_the_desk(desk, *check).startswith("verified: ")
    assert by_others_means(public_key, "log", exported, desk / "kept").stdout.startswith("verified: ")
    text = exported.read_text(encoding="utf-8")
    exported.write_text(text.replace("share.claimed", "share.lapsed!"), encoding="utf-8")
    assert "NOT verified: changed: " in at_the_desk(desk, *check, code=1)
    assert by_others_means(public_key, "log", exported).returncode == 1
    exported.write_text(text[:500], encoding="utf-8")
    at_the_desk(desk, *check, code=2)
    at_the_desk(desk, "audit", "verify", "--export", str(exported), code=2)


def test_a_wrong_or_missing_file_is_no_tampering(house, gone, desk, public_key):
    """Exit 1 would have the DPO call security. Files as Windows leaves them are read."""
    note = (desk / "kept").read_bytes()
    (desk / "windows").write_bytes(b"\xef\xbb\xbf" + note.strip().replace(b"\n", b"\r\n"))
    run = house.installation.run
    assert run("audit", "verify", "--since", str(desk / "windows")).out.startswith("verified: ")
    said = run("audit", "verify", "--since", str(public_key), code=2).err
    assert f"{public_key} is not a checkpoint: it seems to be a public key" in said
    assert "there is no file or folder" in run("audit", "verify", "--since", str(desk / "none"), code=2).err
    assert "Errno" not in run("audit", "verify", "--since", str(desk / "none"), code=2).err


def test_a_refused_document_leaves_no_file_behind(house, staff, desk):
    held = send(staff).transfer_id
    for words in (["certificate"], ["receipt"]):
        house.installation.run("audit", *words, "-o", str(desk / "document"), "--", held, code=1)
        assert not (desk / "document").exists()
    house.installation.run("audit", "export", "-o", str(desk / "document"))
    assert (desk / "document").read_text("utf-8").rstrip().endswith("}")
    (desk / "document").unlink()


def test_a_checkpoint_that_was_kept_is_asked_by_command(house, gone, desk, public_key):
    said = house.installation.run("audit", "verify", "--since", str(desk / "kept"), "--public-key", str(public_key))
    assert said.out.startswith("verified: ")


def test_a_flood_of_refused_links_neither_fills_the_log_nor_slows_deposits(house, staff, anyone):
    """docs/audit-log.md: refusals without the right proof are counted, not logged one by one."""

    def entries() -> int:
        return int(house.installation.rows("SELECT count(*) FROM audit_entries")[0][0])

    def quickest() -> float:
        """The quickest of some deposits, with their entries: three each."""
        taken = []
        for _ in range(8):
            begun = time.perf_counter()
            send(staff)
            taken.append(time.perf_counter() - begun)
        return min(taken)

    share = send(staff)
    before, quiet = entries(), quickest()
    each = (entries() - before) / 8
    for _ in range(300):
        body = {"link_secret": wrong_secret(), "password": share.password}
        ok(anyone.post(f"/api/v1/shares/{share.id}/claim", json=body), 404)
    before, flooded = entries(), quickest()
    assert entries() - before <= 8 * each + 2  # the count of a minute may fall into it
    assert flooded < 3 * quiet + 0.05


def _pruned_after_a_second(installation: Installation) -> int:
    """What a year would do; no setting allows it."""
    settings = Settings(data_dir=installation.data).model_copy(update={"audit_retention": timedelta(seconds=1)})
    resources = open_resources(settings)
    try:
        return prune_log(resources, actor="operator")
    finally:
        resources.close()


def test_a_new_origin_and_pruning_by_command(installation: Installation, tmp_path):
    installation.make()
    installation.run("audit", "checkpoint")
    kept = tmp_path / "kept"
    kept.write_text(installation.run("audit", "checkpoint", "--json").json["note"], encoding="utf-8")
    assert "Missing option" in installation.run("audit", "new-log", code=2).err
    installation.run("audit", "new-log", "--reason", "because I say so", code=2)  # no free text
    renewed = installation.run("audit", "new-log", "--reason", "log_damaged", "--json").json
    assert renewed["public_key"].startswith(renewed["new_origin"])
    said = installation.run("audit", "verify", "--since", str(kept)).out
    assert "log.renewed, log_damaged: a new origin in place of " in said
    assert installation.run("audit", "prune").out == "0 entries pruned\n"
    assert "CADUCEE_AUDIT_RETENTION" in installation.run("audit", "prune", code=2, AUDIT_RETENTION="31d").err
    time.sleep(1.1)
    assert _pruned_after_a_second(installation)
    assert "are pruned: hashes only" in installation.run("audit", "verify").out
