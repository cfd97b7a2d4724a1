"""The one-line deposit when the service stops taking anything in while the body comes: its transfer ends with it."""

import asyncio
from datetime import timedelta

import httpx
import pytest

from app.actions.issue_access_token import issue_access_token
from app.actions.lock_down import lock_down
from app.domain.access_token import Role
from app.domain.transfer import Ending, TransferState
from app.main import create_app
from app.runtime import stream_watch
from tests.integration.actions.stories import CONTENT, blobs_held, keys_held, log_of, run, sweep, transfer_row


def stop(resources, time, code):
    """What has the service refuse with this code."""
    if code == "locked_down":
        lock_down(resources.database, resources.clock)
    else:
        time.pass_by(resources.settings.deadman + timedelta(seconds=1))  # and no sweep


async def put(resources, token, body):
    """The request, its body read piece by piece by the application."""
    app = create_app(settings=resources.settings, resources=resources)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=resources.settings.public_url)
    async with app.router.lifespan_context(app), http:
        headers = {"Authorization": f"Bearer {token}"}
        return await http.put("/api/v1/send/a.bin", params={"recipient": "r"}, content=body, headers=headers)


@pytest.mark.parametrize("code", ["locked_down", "retention_not_assured"])
@pytest.mark.parametrize("when", ["in mid-body", "between body and commit"])
def test_a_running_deposit_is_refused_and_leaves_nothing(resources, time, monkeypatch, code, when):
    token = issue_access_token(resources, name="lab", role=Role.STAFF, lifetime=None).token
    monkeypatch.setattr(stream_watch, "CHECK_SECONDS", 0.02 if when == "in mid-body" else 30)

    async def body():
        yield CONTENT
        stop(resources, time, code)
        if when == "in mid-body":
            await asyncio.sleep(30)

    answer = run(put(resources, token, body()))
    assert (answer.status_code, answer.json()["code"]) == (503, code)
    assert (keys_held(resources), blobs_held(resources)) == (set(), set())
    [created] = log_of(resources, event="transfer.created")
    row = transfer_row(resources, created["transfer"])
    assert (row.state, row.ending) == (TransferState.DENIED, Ending.FAILED)
    assert sweep(resources).deleted == 1
