"""A download as the server sends it, to clients that vanish or stall."""

import asyncio
import json
import random

import pytest

from app.actions.fetch_file import PIECE_BYTES
from app.actions.withdraw_share import withdraw_share
from app.crypto.errors import CannotDecrypt
from app.lifecycle.download import Download
from app.runtime import stream_watch
from app.web.peer import UnknownPeer, put_peer
from app.web.streaming import TURN_BYTES, StreamedDownload
from tests.integration.actions.stories import (
    blob_path,
    claim,
    claim_row,
    files_of,
    log_of,
    open_claim,
    run,
    send,
)

PIECES = 16
SCOPE = {"type": "http", "method": "POST"}
LARGE = random.Random(2).randbytes(PIECES * PIECE_BYTES)


@pytest.fixture
def sent(resources, caller):
    return send(resources, caller, content=LARGE)


class Client:
    """The server's side of a connection whose writes never wait. `leaves_at`: the piece after which it is reset, which
    asyncio tells by a callback, as it does a real connection's end.
    """

    def __init__(self, *, leaves_at: int | None = None) -> None:
        self.leaves_at = leaves_at
        self.bodies: list[int] = []
        self.finished = False
        self._gone = asyncio.Event()

    async def send(self, message) -> None:
        if message["type"] != "http.response.body":
            return
        self.bodies.append(len(message["body"]))
        self.finished = not message["more_body"]
        if len(self.bodies) == self.leaves_at:
            asyncio.get_running_loop().call_soon(self._gone.set)

    async def receive(self):
        await self._gone.wait()
        return {"type": "http.disconnect"}


async def answer_to(resources, claimed) -> StreamedDownload:
    """The one-line route's answer."""
    files = await open_claim(resources, claimed)
    file = files.files[0]
    return StreamedDownload(files.plaintext(file, 0, file.size, delivers=True), headers={})


def test_a_client_that_vanishes_stops_its_download(resources, sent):
    async def story():
        client = Client(leaves_at=2)
        answer = await answer_to(resources, await claim(resources, sent.share))
        await answer(SCOPE, client.receive, client.send)
        return client

    client = run(story())
    assert sum(client.bodies) <= 2 * PIECE_BYTES + 3 * TURN_BYTES  # it takes a turn or two until the news is there
    assert not client.finished
    (entry,) = log_of(resources, event="file.fetched")
    assert (entry["outcome"], entry["size"] < len(LARGE)) == ("cut", True)
    row = claim_row(resources, sent.share.id)
    assert (row.delivered_at, row.bytes_served) == (None, entry["size"])


def test_a_client_that_vanishes_with_the_last_piece_has_not_got_everything(resources, sent):
    """Its share would end as completed, and the transfer with it."""

    async def story():
        client = Client(leaves_at=PIECES)
        answer = await answer_to(resources, await claim(resources, sent.share))
        await answer(SCOPE, client.receive, client.send)
        return client

    assert not run(story()).finished
    (entry,) = log_of(resources, event="file.fetched")
    assert entry["outcome"] == "cut"
    assert claim_row(resources, sent.share.id).delivered_at is None


def test_a_client_that_stays_gets_everything(resources, sent):
    async def story():
        client = Client()
        answer = await answer_to(resources, await claim(resources, sent.share))
        await answer(SCOPE, client.receive, client.send)
        return client

    client = run(story())
    assert (client.finished, sum(client.bodies)) == (True, len(LARGE))
    assert claim_row(resources, sent.share.id).delivered_at is not None


def test_a_failure_of_ours_leaves_nothing_in_the_buffer(resources, sent):
    """Lesson 23: a bit flipped in the sixth piece, met after the head was sent."""
    (file,) = files_of(resources, sent.id)
    path = blob_path(resources, file.blob_id)
    sealed = bytearray(path.read_bytes())
    sealed[len(sealed) // 2] ^= 1
    path.write_bytes(sealed)
    dropped: list[bool] = []

    class AbortedPeer(UnknownPeer):
        def abort(self):
            dropped.append(True)

    scope = dict(SCOPE)
    put_peer(scope, AbortedPeer())

    async def story():
        client = Client()
        answer = await answer_to(resources, await claim(resources, sent.share))
        with pytest.raises(CannotDecrypt):
            await answer(scope, client.receive, client.send)
        return client

    assert not run(story()).finished
    assert dropped == [True]


def test_a_share_that_ends_cuts_also_a_client_that_takes_everything_at_once(resources, sent, monkeypatch):
    """Faster than pieces are decrypted: then nothing ever waits, and the check each second must get its turn."""

    async def check_here(download):
        download._check()  # without the hop to a thread, so that twelve pieces are time enough

    monkeypatch.setattr(stream_watch, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(Download, "check", check_here)

    async def story():
        client = Client()
        answer = await answer_to(resources, await claim(resources, sent.share))

        async def send_and_withdraw(message):
            await client.send(message)
            if len(client.bodies) == 1:
                withdraw_share(resources, sent.share.id, caller=None)

        await answer(SCOPE, client.receive, send_and_withdraw)
        return client

    client = run(story())
    assert not client.finished
    assert 1 <= len(client.bodies) < PIECES


def test_a_download_that_is_refused_at_its_start_answers_with_the_reason(resources, sent):
    """Between opening it and its first byte the share may end: nothing was sent yet, so a problem document can be."""
    messages = []

    async def story():
        answer = await answer_to(resources, await claim(resources, sent.share))
        withdraw_share(resources, sent.share.id, caller=None)

        async def keep(message):
            messages.append(message)

        await answer(SCOPE, Client().receive, keep)

    run(story())
    assert (messages[0]["status"], json.loads(messages[1]["body"])["code"]) == (410, "share_withdrawn")
    assert resources.downloads == {}
    assert log_of(resources, event="file.fetched") == []
