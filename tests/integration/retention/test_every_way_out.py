"""Whatever the rows say, nothing is sent without the vault: gone keys cut, a vault out of reach pauses."""

import asyncio
import os
import random
import stat
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from time import monotonic

import pytest
from sqlalchemy import update

from app.actions.claim_share import Claimed, claim_share
from app.actions.fetch_file import PIECE_BYTES
from app.actions.lock_down import lock_down
from app.actions.withdraw_share import withdraw_share
from app.crypto.token import new_id, new_secret
from app.crypto.wrapping import link_proof
from app.db.tables import claims, shares, transfers
from app.domain.errors import ClaimEnded, ClientTooSlow, VaultOutOfReach
from app.domain.vault_entry import EntryName
from app.lifecycle.claimable_share import LinkAndPassword
from app.lifecycle.download import Download
from app.runtime.life_watch import FRESH_SECONDS, LifeWatch
from app.runtime.stream_watch import watched
from app.storage.hour_folder import HOUR_KEY_FILE
from app.storage.vault_folder import VaultFolder
from app.web.streaming import StreamedDownload
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    claim,
    claim_row,
    fetch,
    key_path,
    keys_held,
    log_of,
    open_claim,
    out_of_reach,
    run,
    send,
    sweep,
)
from tests.integration.conftest import START
from tests.integration.retention.streams import stalled_download

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
PIECES = 12
LARGE = random.Random(3).randbytes(PIECES * PIECE_BYTES)
CUT_WITHIN_SECONDS = 6
SCOPE = {"type": "http", "method": "GET"}
ON_ONE_DATABASE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
"""For waits in real time on the vault or the client alone."""


@pytest.fixture
def claimed(resources, sent):
    return run(claim(resources, sent.share))


def claim_by_proof(resources, share) -> Claimed:
    presented = LinkAndPassword(link_proof(share.link_secret), None, share.password, None, ADDRESS)
    return run(claim_share(resources, share.id, presented))


def entry_of(sent, *, share: bool) -> EntryName:
    return EntryName(sent.id, sent.transfer.expires_at, sent.share.id if share else None)


def remove(resources, sent, what: str) -> None:
    """Have the vault lose one of the three things that a download needs."""
    if what == "hour":
        key_path(resources, entry_of(sent, share=False)).with_name(HOUR_KEY_FILE).unlink()
    else:
        resources.vault.destroy([entry_of(sent, share=what == "share")])


# At the opening


@pytest.mark.parametrize("what", ["transfer", "share", "hour"])
@pytest.mark.parametrize("decrypted", [True, False])
def test_nothing_is_opened_once_a_key_is_gone(resources, sent, claimed, what, decrypted):
    remove(resources, sent, what)
    with pytest.raises(ClaimEnded):
        run(fetch(resources, claimed, decrypted=decrypted))


@pytest.mark.parametrize("decrypted", [True, False])
def test_nothing_is_opened_while_the_vault_is_out_of_reach(resources, claimed, decrypted):
    with out_of_reach(resources.settings.vault_dir), pytest.raises(VaultOutOfReach):
        run(fetch(resources, claimed, decrypted=decrypted))
    assert run(fetch(resources, claimed)) == CONTENT


def test_altered_expiries_keep_no_ciphertext_flowing(resources, caller, time, purge):
    """One UPDATE of every expiry; the vault's entries have ended at their second."""
    sent = send(resources, caller, lifetime=10 * MINUTE)
    held = claim_by_proof(resources, sent.share)
    with resources.database.writing() as transaction:
        later = sent.transfer.expires_at + DAY
        transaction.connection.execute(update(transfers).values(expires_at=later, due_at=later))
        transaction.connection.execute(update(shares).values(expires_at=later))
        transaction.connection.execute(update(claims).values(window_until=later))
    with pytest.raises(ClaimEnded):
        run(fetch(resources, held, decrypted=False))
    time.pass_until(sent.transfer.expires_at)
    purge()
    assert keys_held(resources) == set()
    with pytest.raises(ClaimEnded):
        run(fetch(resources, held, decrypted=False))


@pytest.mark.parametrize(
    "value", [START + DAY + timedelta(microseconds=1), START - 3 * DAY, START.replace(year=1969)], ids=str
)
def test_an_expiry_that_no_entry_can_have_opens_nothing(resources, claimed, value):
    with resources.database.writing() as transaction:
        transaction.connection.execute(update(shares).values(expires_at=value))
    with pytest.raises(ClaimEnded):
        run(fetch(resources, claimed))


# While it runs


@pytest.mark.usefixtures("quick_watch")
@pytest.mark.parametrize("what", ["transfer", "share", "hour"])
def test_a_running_download_is_cut_once_a_key_is_gone(resources, sent, claimed, what):
    with pytest.raises(ClaimEnded):
        run(stalled_download(resources, claimed, lambda: remove(resources, sent, what)))


def test_a_stalled_download_is_cut_within_a_second_once_a_key_is_gone(resources, sent, claimed):
    """At the pace of the service."""
    removed: list[float] = []

    def now() -> None:
        remove(resources, sent, "transfer")
        removed.append(monotonic())

    with pytest.raises(ClaimEnded):
        run(stalled_download(resources, claimed, now))
    assert monotonic() - removed[0] < CUT_WITHIN_SECONDS


class Client:
    """The server's side of a connection: notes what is sent, and acts at one of the pieces."""

    def __init__(self, act_at: int, act) -> None:
        self.act_at, self.act = act_at, act
        self.received = bytearray()
        self.pieces = 0
        self.finished = False
        self.gone = asyncio.Event()

    async def send(self, message) -> None:
        if message["type"] != "http.response.body" or not message["body"]:
            self.finished = message.get("more_body") is False
            return
        self.pieces += 1
        self.received += message["body"]
        if self.pieces == self.act_at:
            await self.act()

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def opened(resources, held, *, decrypted: bool = True) -> Download:
    files = await open_claim(resources, held, decrypted=decrypted)
    file = files.files[0]
    return files.plaintext(file, 0, file.size) if decrypted else files.ciphertext(file, 0, file.sealed_size)


async def answered(resources, held, client: Client, *, decrypted: bool = True) -> None:
    download = await opened(resources, held, decrypted=decrypted)
    await StreamedDownload(download, headers={})(SCOPE, client.receive, client.send)


@pytest.fixture
def large(resources, caller):
    return send(resources, caller, content=LARGE)


def _paused_at(resources, stack: ExitStack, then):
    """At this piece the vault's volume goes away; after a few checks, `then` happens."""

    async def act() -> None:
        stack.enter_context(out_of_reach(resources.settings.vault_dir))
        await asyncio.sleep(FRESH_SECONDS + 0.2)  # one check at the least
        asyncio.get_running_loop().call_later(0.3, then)

    return act


@ON_ONE_DATABASE
@pytest.mark.usefixtures("quick_watch")
@pytest.mark.parametrize("decrypted", [True, False])
def test_a_vault_out_of_reach_pauses_a_download_which_goes_on_afterwards(resources, large, decrypted):
    held = run(claim(resources, large.share))
    before = claim_row(resources, large.share.id).window_until
    seen: list[int] = []

    async def story() -> Client:
        with ExitStack() as away:

            def back() -> None:
                seen.append(client.pieces)
                away.close()

            client = Client(3, _paused_at(resources, away, back))
            await answered(resources, held, client, decrypted=decrypted)
        return client

    client = run(story())
    assert seen == [3], "no piece was sent while the vault was away"
    assert client.finished
    assert not decrypted or client.received == LARGE
    assert claim_row(resources, large.share.id).window_until >= before
    assert [entry["outcome"] for entry in log_of(resources, event="file.fetched")] == ["sent"]


@pytest.mark.usefixtures("quick_watch")
def test_a_pause_longer_than_the_window_costs_the_recipient_nothing(resources, large, time):
    held = run(claim(resources, large.share))

    async def story() -> Client:
        with ExitStack() as away:

            async def for_hours() -> None:
                away.enter_context(out_of_reach(resources.settings.vault_dir))
                await asyncio.to_thread(sweep, resources)
                await asyncio.sleep(FRESH_SECONDS + 0.2)
                time.pass_by(timedelta(hours=5))
                await asyncio.to_thread(sweep, resources)
                await asyncio.sleep(0.2)
                away.close()

            client = Client(3, for_hours)
            await answered(resources, held, client)
        return client

    client = run(story())
    assert (client.finished, client.received == LARGE) == (True, True)
    assert run(fetch(resources, held)) == LARGE


@pytest.mark.usefixtures("quick_watch")
@pytest.mark.parametrize("how", ["withdrawn", "locked down", "expired", "gone", "left"])
def test_what_ends_a_download_ends_a_paused_one(resources, large, time, how):
    held = run(claim(resources, large.share))

    async def story() -> Client:
        with ExitStack() as away:

            def ends() -> None:
                match how:
                    case "withdrawn":
                        withdraw_share(resources, large.share.id, caller=None)
                    case "locked down":
                        lock_down(resources.database, resources.clock)
                    case "expired":
                        time.pass_until(large.transfer.expires_at)
                    case "gone":
                        away.close()
                        remove(resources, large, "transfer")
                    case "left":
                        client.gone.set()

            client = Client(3, _paused_at(resources, away, ends))
            async with asyncio.timeout(5):
                await answered(resources, held, client)
        return client

    client = run(story())
    assert not client.finished
    assert client.pieces <= 4, "at the most the piece that was ready"
    assert [entry["outcome"] for entry in log_of(resources, event="file.fetched")] == ["cut"]


@ON_ONE_DATABASE
@pytest.mark.usefixtures("quick_watch")
def test_silence_is_not_counted_while_a_stream_is_paused(resources, claimed):
    """Its client cannot take what is not sent."""

    async def story() -> None:
        async with (
            await opened(resources, claimed) as download,
            watched(download.check, idle_seconds=1.5) as progress,
        ):
            with out_of_reach(resources.settings.vault_dir):
                await asyncio.sleep(2.5)
                assert not progress.may_go_on.is_set()
            await asyncio.sleep(1.2)
            assert progress.may_go_on.is_set()
            await asyncio.sleep(PATIENCE_SECONDS)

    with pytest.raises(ClientTooSlow):
        run(story())


PATIENCE_SECONDS = 5


# What it costs


class CountingVault(VaultFolder):
    """A vault that counts what it is asked."""

    def __init__(self, resources) -> None:
        super().__init__(resources.settings.vault_dir)
        self.asked: list[int] = []

    def living(self, names):
        names = list(names)
        self.asked.append(len(names))
        return super().living(names)


STREAMS, SECONDS = 20, 3


@ON_ONE_DATABASE
def test_running_downloads_share_one_query_a_second(resources, caller):
    """Of ciphertext, since opening the keys of a decrypted download is its first query."""
    sents = [send(resources, caller) for _ in range(STREAMS)]
    helds = [run(claim(resources, sent.share)) for sent in sents]
    vault = CountingVault(resources)
    object.__setattr__(resources, "life", LifeWatch(vault))

    async def one(held) -> None:
        async with (
            await opened(resources, held, decrypted=False) as download,
            asyncio.timeout(SECONDS + 0.5),
            watched(download.check, idle_seconds=60),
        ):
            await asyncio.sleep(60)

    async def story() -> None:
        await asyncio.gather(*(one(held) for held in helds), return_exceptions=True)

    run(story())
    openings, shared = vault.asked[:STREAMS], vault.asked[STREAMS:]
    assert openings == [2] * STREAMS
    assert 2 <= len(shared) <= SECONDS + 1
    assert set(shared[1:]) == {2 * STREAMS}


def test_a_watch_forgets_streams_that_are_over_and_serves_those_of_one_share_together(vault_folder, time):
    name = EntryName(new_id(), START + DAY)
    vault_folder.create(name, new_secret())
    watch, names = LifeWatch(vault_folder), frozenset({name})
    watch.add(names)
    watch.add(names)
    watch.remove(names)
    watch.require(names)
    vault_folder.destroy([name])
    watch.require(names)  # by the answer of this second
    watch.remove(names)
    with pytest.raises(ClaimEnded):
        watch.require(names)  # nobody shares it any more: it is asked for


@pytest.fixture
def vault_folder(tmp_path) -> VaultFolder:
    vault = VaultFolder(tmp_path / "another vault")
    vault.adopt("installation-1")
    return vault


@pytest.fixture
def syncs(monkeypatch) -> Counter[str]:
    """What was synced: files and folders."""
    counted: Counter[str] = Counter()

    def note(descriptor: int) -> None:
        counted["folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"] += 1

    monkeypatch.setattr(os, "fsync", note)
    return counted


def test_a_claim_syncs_one_file_and_its_folder_and_a_fetch_nothing(resources, sent, syncs):
    held = run(claim(resources, sent.share))
    assert syncs["file"] == 1
    assert syncs["folder"] <= 2
    syncs.clear()
    run(fetch(resources, held))
    run(fetch(resources, held, decrypted=False))
    assert not syncs
