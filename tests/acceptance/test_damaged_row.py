"""Somebody, or a disk, damages one row under a running service."""

from tests.acceptance.people import send
from tests.acceptance.service import Installation, until

VERIFIED = "SELECT id FROM transfers WHERE state = 'verified'"


def test_one_damaged_transfer_keeps_no_other_and_goes_once_its_row_is_mended(tmp_path):
    """Lesson 3: no transfer ended any more; and after the row was mended, not before the scheduler was killed."""
    installation = Installation(tmp_path, MIN_LIFETIME="1s")
    with installation.serving() as server, server.http(installation.token()) as http:
        sent = [send(http, expires_in="5s") for _ in range(5)]
        damaged = sent[0].transfer_id
        assert installation.alter("UPDATE transfers SET state = 'liwe' WHERE id = ?", damaged) == 1
        until(lambda: len(installation.rows(VERIFIED)) == 4, what="the end of the others")
        until(lambda: not installation.key_files(), what="the end of every key, by the purge")
        until(lambda: '"deletion_failed"' in server.log, what="the alert")
        assert '"job_failed"' not in server.log
        assert installation.run("audit", "retention", "--json", code=1).json["failing"] == [damaged]
        sweep = installation.run("sweep", code=1)
        assert "1 with keys" in sweep.out
        assert "Traceback" in installation.run("transfer", "show", "--", damaged, code=2).err, "a defect is no refusal"
        installation.alter("UPDATE transfers SET state = 'live', due_at = 0 WHERE id = ?", damaged)
        until(lambda: len(installation.rows(VERIFIED)) == 5, what="the end of the one that was mended")
        assert installation.run("audit", "retention", "--json").json["exit_code"] == 0
