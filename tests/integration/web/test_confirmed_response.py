"""A response that counts once the client's kernel has acknowledged it: else what it announced is undone."""

import asyncio

import pytest
from starlette.responses import JSONResponse

from app.web import confirmed_response as module
from app.web.confirmed_response import ConfirmedResponse
from app.web.peer import UnknownPeer, put_peer


class SlowPeer(UnknownPeer):
    """Acknowledges after some readings; is lost after some others."""

    def __init__(self, *, acknowledges_after: int | None = None, lost_after: int | None = None) -> None:
        self.readings, self.aborted = 0, False
        self._acknowledges_after, self._lost_after = acknowledges_after, lost_after

    def unacknowledged(self) -> int:
        self.readings += 1
        done = self._acknowledges_after is not None and self.readings > self._acknowledges_after
        return 0 if done else 700

    def is_lost(self) -> bool:
        return self._lost_after is not None and self.readings >= self._lost_after

    def abort(self) -> None:
        self.aborted = True


async def receive():
    raise AssertionError("nothing is received")


@pytest.mark.parametrize(
    ("peer", "undone"),
    [
        (SlowPeer(acknowledges_after=0), 0),
        (SlowPeer(acknowledges_after=5), 0),
        (SlowPeer(), 1),  # never, though the connection stands
        (SlowPeer(lost_after=2), 1),
        (SlowPeer(acknowledges_after=0, lost_after=0), 1),  # lost before anything was written
    ],
)
def test_what_is_not_acknowledged_is_undone(monkeypatch, peer, undone):
    monkeypatch.setattr(module, "ACKNOWLEDGED_WITHIN_SECONDS", 0.2)
    sent, undoing = [], []
    scope = {"type": "http"}
    put_peer(scope, peer)

    async def send(message):
        sent.append(message)

    async def undo():
        undoing.append(True)

    asyncio.run(ConfirmedResponse(JSONResponse({"a": 1}, 201), undo)(scope, receive, send))
    assert (len(undoing), peer.aborted) == (undone, bool(undone))
    assert [message.get("body") for message in sent] == [None, b'{"a":1}', b""]
    assert (sent[0]["status"], sent[1]["more_body"], sent[2]["more_body"]) == (201, True, False)


def test_a_response_that_fails_or_is_cancelled_is_undone():
    undoing = []

    async def send(_message):
        raise asyncio.CancelledError

    async def undo():
        undoing.append(True)

    async def story():
        with pytest.raises(asyncio.CancelledError):
            await ConfirmedResponse(JSONResponse({}), undo)({"type": "http"}, receive, send)

    asyncio.run(story())
    assert undoing == [True]
