"""docs/operations.md, "Moving without a pause": two installations side by side until the old one is empty."""

import pytest

from tests.acceptance.people import add_file, claim, issue, ok, open_transfer, send
from tests.acceptance.service import Installation, until

pytestmark = pytest.mark.external


@pytest.fixture
def old(tmp_path):
    return Installation(tmp_path / "old", MAX_LIFETIME="5m")


def test_an_old_installation_drains_while_a_new_one_takes_in(old, tmp_path):
    new = Installation(tmp_path / "new")
    with old.serving() as old_server, old_server.http(old.token()) as at_old:
        with_link = send(at_old, b"with a link", expires_in="5m")
        transfer, key = open_transfer(at_old, expires_in="5m")
        ok(add_file(at_old, transfer, key, b"not shared yet"), 201)
        expiring = send(at_old, b"nobody fetches it", expires_in="3s")

        with new.serving() as new_server, new_server.http(new.token()) as at_new:
            old.run("intake", "off")
            refused = ok(at_old.put("/api/v1/send/a", params={"recipient": "CPAM 75"}, content=b"late"), 503)
            assert refused["code"] == "intake_off"
            moved = send(at_new, b"in the new house")
            assert claim(at_new, moved).get().content == b"in the new house"

            for share, content in ((with_link, b"with a link"), (issue(at_old, transfer, key), b"not shared yet")):
                claimed = claim(at_old, share)
                assert claimed.get().content == content
                claimed.complete()
            until(lambda: held(old) == 0, seconds=60, what="the end of the old installation's transfers", every=0.5)
            assert ok(at_old.get(f"/api/v1/transfers/{expiring.transfer_id}"), 200)["ending"] == "expired"
            assert old.key_files() == []
            assert held(new) == 1
        old.run("audit", "retention")
        checkpoint = tmp_path / "last-checkpoint"
        old.run("audit", "checkpoint", "--output", str(checkpoint))
        receipt = tmp_path / "receipt"
        old.run("audit", "receipt", with_link.transfer_id, "--output", str(receipt))
    old.run("audit", "verify", "--since", str(checkpoint))
    new.run("audit", "verify-receipt", str(receipt), "--public-key", str(old.data / "keys" / "log.pub"))


def held(installation) -> int:
    count: int = installation.run("intake", "status", "--json").json["held"]
    return count
