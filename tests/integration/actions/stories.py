"""The steps of a file's life as tests walk them: each calls one action, and answers what that action answers.

Tests are plain functions; `run` runs the few actions that are coroutines.
"""

import asyncio
import atexit
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Table, func, select, update

from app.actions import sweep as sweeping
from app.actions.authenticate import authenticate
from app.actions.claim_share import Claimed, claim_share
from app.actions.create_transfer import CreatedTransfer, TransferOptions, create_transfer
from app.actions.deposit_file import DepositedFile, IncomingFile, deposit_file
from app.actions.fetch_file import ClaimFiles, open_files
from app.actions.issue_access_token import issue_access_token
from app.actions.issue_share import IssuedShare, NewShare, issue_share
from app.actions.log_fetches import log_fetches
from app.actions.sweep import SweepReport
from app.crypto.token import new_id
from app.db import audit_rows, file_rows, share_rows, transfer_rows
from app.db.file_rows import FileRow
from app.db.share_rows import ClaimRow, ShareRow
from app.db.tables import files
from app.db.transfer_rows import TransferRow
from app.domain.access_token import Caller, Role
from app.domain.file_meta import FileMeta
from app.domain.vault_entry import EntryName
from app.lifecycle import intake
from app.lifecycle.claimable_share import LinkAndPassword
from app.runtime.resources import Resources
from app.storage.hour_folder import place_of

T = TypeVar("T")

CONTENT = b"sample;result\nA1;negative\n" * 40
NAME = "r\u00e9sultats.csv"
ADDRESS = "203.0.113.7"
WRONG_PASSWORD = "0000-0000-0000-0000"


def run(story: Coroutine[Any, Any, T]) -> T:
    """Run an async step to its end, and end the tasks that it left; threads that it started may go on."""
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(story)
    loop = _kept_loop()
    try:
        return loop.run_until_complete(story)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait(left) if left else asyncio.sleep(0))  # generators let go of end, too


@cache
def _kept_loop() -> asyncio.AbstractEventLoop:
    """The main thread's loop, the same for all tests: to make one for each step, with its threads and its handling of
    Ctrl-C, is a twelfth of what the tests of actions cost.
    """
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


# --- the steps


def a_caller(resources: Resources, *, role: Role = Role.STAFF, name: str = "", owner: str | None = None) -> Caller:
    """Somebody with an access token; without a name, under one that nobody else has."""
    issued = issue_access_token(resources, name=name or f"lab {new_id()}", role=role, lifetime=None, owner=owner)
    return authenticate(resources, issued.token)


def a_transfer(resources: Resources, caller: Caller, *, lifetime: timedelta | None = None, **asked) -> CreatedTransfer:
    """A transfer open for files."""
    return create_transfer(resources, caller, TransferOptions(lifetime=lifetime, **asked))


async def body(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body that arrives in these pieces."""
    for piece in pieces:
        yield piece


async def deposit(
    resources: Resources,
    caller: Caller,
    transfer: CreatedTransfer,
    content: bytes | AsyncIterator[bytes] = CONTENT,
    *,
    name: str = NAME,
    media_type: str | None = "text/csv",
    announced_size: int | None = None,
) -> DepositedFile:
    """One file into a transfer."""
    incoming = IncomingFile(
        meta=FileMeta.checked(name, media_type),
        body=body(content) if isinstance(content, bytes) else content,
        announced_size=announced_size,
    )
    return await deposit_file(
        resources, caller, transfer_id=transfer.id, client_key=transfer.client_key, incoming=incoming
    )


async def issue(
    resources: Resources, caller: Caller, transfer: CreatedTransfer, recipient: str = "Agency, Ms Durand"
) -> IssuedShare:
    """A link and a password for one recipient."""
    return await issue_share(resources, caller, NewShare(transfer.id, recipient), client_key=transfer.client_key)


async def claim(
    resources: Resources, share: IssuedShare, *, password: str | None = None, token: bytes | None = None
) -> Claimed:
    """Redeem a share with its link; with its password, unless another is given."""
    presented = LinkAndPassword.by_secret(share.link_secret, password or share.password, token, ADDRESS)
    return await claim_share(resources, share.id, presented)


async def fetch(
    resources: Resources,
    claimed: Claimed,
    number: int = 0,
    *,
    start: int = 0,
    stop: int | None = None,
    decrypted: bool = True,
) -> bytes:
    """A file of a claim, or the bytes from `start` to `stop` of it, as the web sends it."""
    opened = await open_claim(resources, claimed, numbers=[number], decrypted=decrypted)
    file = opened.files[0]
    end = stop if stop is not None else file.size if decrypted else file.sealed_size
    received = bytearray()
    async with (opened.plaintext if decrypted else opened.ciphertext)(file, start, end) as download:
        async for piece in download:
            received += piece
        await download.arrived()
    log_fetches(resources, all_of_them=True)
    return bytes(received)


async def open_claim(
    resources: Resources, claimed: Claimed, *, numbers: list[int] | None = None, decrypted: bool = True
) -> ClaimFiles:
    """The files of a claim, as the web opens them."""
    return await open_files(
        resources,
        claim_id=claimed.claim_id,
        token=claimed.token,
        numbers=numbers,
        decrypted=decrypted,
        address=ADDRESS,
    )


async def pieces_of(*sizes: int) -> AsyncGenerator[bytes, None]:
    """Pieces of so many bytes, for a download whose content does not matter."""
    for size in sizes:
        yield bytes(size)


def sweep(resources: Resources) -> SweepReport:
    """One sweep."""
    return run(sweeping.sweep(resources))


@dataclass(frozen=True)
class Sent:
    """A transfer of one file with one share, ready to be claimed."""

    caller: Caller
    transfer: CreatedTransfer
    share: IssuedShare

    @property
    def id(self) -> str:
        return self.transfer.id


def send(resources: Resources, caller: Caller, *, content: bytes = CONTENT, **asked) -> Sent:
    """Deposit one file and issue one share."""
    transfer = a_transfer(resources, caller, **asked)

    async def steps() -> IssuedShare:
        await deposit(resources, caller, transfer, content)
        return await issue(resources, caller, transfer)

    return Sent(caller, transfer, run(steps()))


def abandon_upload(resources: Resources, caller: Caller, transfer_id: str, *, sealed: bool = False) -> str:
    """Leave an upload as kill -9 leaves it: a row with a lease, and an incoming blob that nobody holds. Return the
    blob's id.
    """
    request = intake.UploadRequest(caller, transfer_id, sealed=sealed, announced_size=None)
    blob_id = intake.admit(resources, request).row.blob_id
    (resources.settings.blobs_dir / "incoming" / blob_id).write_bytes(b"x" * 2_000_000)
    assert blob_id in blobs_held(resources)
    return blob_id


def in_another_thread(act: Callable[[], T]) -> Future[T]:
    """Begin a concurrent request, for callbacks at fault points: those in the event loop cannot await."""
    threads = ThreadPoolExecutor(1)
    future = threads.submit(act)
    threads.shutdown(wait=False)
    return future


def first_time(act: Callable[[], object]) -> Callable[[], object]:
    """Return a callback for a fault point that acts once, though what it does may reach the point again."""
    acts = [act]
    return lambda: acts.pop()() if acts else None


@contextmanager
def out_of_reach(folder: Path) -> Iterator[None]:
    """A volume that is unmounted for a while."""
    elsewhere = folder.with_name(f"{folder.name}.unmounted")
    folder.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(folder)


# --- looking at what is stored


def transfer_row(resources: Resources, transfer_id: str) -> TransferRow:
    with resources.database.reading() as connection:
        row = transfer_rows.find(connection, transfer_id)
    assert row is not None
    return row


def files_of(resources: Resources, transfer_id: str) -> list[FileRow]:
    with resources.database.reading() as connection:
        return file_rows.of_transfers(connection, [transfer_id])


def share_row(resources: Resources, share_id: str) -> ShareRow:
    with resources.database.reading() as connection:
        row = share_rows.find(connection, share_id)
    assert row is not None
    return row


def claim_row(resources: Resources, share_id: str) -> ClaimRow:
    with resources.database.reading() as connection:
        row = share_rows.claim_of_share(connection, share_id)
    assert row is not None
    return row


def count_rows(resources: Resources, table: Table) -> int:
    with resources.database.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def change(resources: Resources, table: Table, row_id: str, **values) -> None:
    """Change a row by hand, as no action would."""
    key = table.c.transfer_id if table is files else table.c.id
    with resources.database.writing() as transaction:
        changed = transaction.connection.execute(update(table).where(key == row_id).values(**values))
    assert changed.rowcount == 1


def keys_held(resources: Resources) -> set[EntryName]:
    return set(resources.vault.names())


def blobs_held(resources: Resources) -> set[str]:
    """Everything in the blob store, complete or not."""
    return {blob.blob_id for blob in resources.blobs.listing()}


def log_of(resources: Resources, **wanted) -> list[dict[str, Any]]:
    """The log's entries that have these fields."""
    with resources.database.reading() as connection:
        entries = [entry.fields() for entry in audit_rows.page(connection, 0, 10_000)]
    return [entry for entry in entries if all(entry.get(name) == value for name, value in wanted.items())]


def blob_path(resources: Resources, blob_id: str) -> Path:
    return resources.settings.blobs_dir / blob_id[:2] / blob_id


def key_path(resources: Resources, name: EntryName) -> Path:
    return vault_folder(resources).joinpath(*place_of(name))


def everything_stored(resources: Resources) -> bytes:
    """Every byte in the data folder: blobs, vault, keys, and the database where it is SQLite."""
    files_there = [path for path in resources.settings.data_dir.rglob("*") if path.is_file()]
    return b"".join(path.read_bytes() for path in sorted(files_there))


def events_of(resources: Resources, **wanted) -> list[str]:
    """What happened, in order."""
    return [entry["event"] for entry in log_of(resources, **wanted)]


def assert_nothing_left(resources: Resources, transfer_id: str) -> None:
    """No file of this transfer was deposited, and nothing is in the blob store."""
    assert blobs_held(resources) == set()
    assert files_of(resources, transfer_id) == []
    assert events_of(resources, event="file.deposited") == []


def vault_folder(resources: Resources) -> Path:
    """The folder of the vault, in tests that change files in it."""
    assert resources.settings.vault_dir is not None
    return resources.settings.vault_dir
