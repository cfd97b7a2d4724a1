"""What `DELETE` of a transfer or share returns: never that keys are gone before that was observed."""

import pytest

from tests.acceptance.people import ok, send
from tests.attacks.inside import inside
from tests.integration.actions.stories import out_of_reach, vault_folder

SHOWN = {"Prefer": "return=representation"}


@pytest.mark.parametrize(("what", "state"), [("shares", "withdrawn"), ("transfers", "denied")])
def test_keys_that_could_not_be_destroyed_are_202_until_they_are(tmp_path, what, state):
    """Lesson 10."""
    with inside(tmp_path) as opened:
        staff = opened.staff()
        share = send(staff)
        ident = {"shares": share.id, "transfers": share.transfer_id}[what]
        with out_of_reach(vault_folder(opened.resources)):
            for headers in ({}, SHOWN):
                answer = staff.delete(f"/api/v1/{what}/{ident}", headers=headers)
                assert ok(answer, 202) == {"id": ident, "state": state, "keys_destroyed": False}
        answer = staff.delete(f"/api/v1/{what}/{ident}", headers=SHOWN)
        assert ok(answer, 200) == {"id": ident, "state": state, "keys_destroyed": True}
        assert ok(staff.delete(f"/api/v1/{what}/{ident}"), 204) is None
