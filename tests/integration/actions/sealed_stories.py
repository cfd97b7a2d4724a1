"""The steps of a sealed file's life as tests walk them: what the programs at both ends do, by hand."""

import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from app.actions.claim_share import Claimed, claim_share
from app.actions.create_transfer import CreatedSealedTransfer, TransferOptions, create_sealed_transfer
from app.actions.deposit_sealed_file import IncomingSealedFile, deposit_sealed_file
from app.actions.issue_share import NewShare, PreparedShare, prepare_share
from app.actions.keep_owner_key import store_owner_key
from app.actions.open_share import ShareKey, open_share
from app.client import sealing
from app.crypto.password import new_password
from app.crypto.token import new_secret
from app.crypto.wrapping import link_proof
from app.domain.access_token import Caller
from app.domain.file_meta import FileMeta
from app.lifecycle.claimable_share import LinkAndPassword
from app.runtime.resources import Resources
from tests.integration.actions.stories import ADDRESS, CONTENT, NAME, body, fetch, run


@dataclass(frozen=True)
class SealedTransfer:
    """A sealed transfer with what only its depositor's program knows."""

    created: CreatedSealedTransfer
    client_key: bytes
    key: bytes

    @property
    def id(self) -> str:
        return self.created.id


@dataclass(frozen=True)
class SealedShare:
    """A share with what only its depositor and its recipient know."""

    prepared: PreparedShare
    transfer: SealedTransfer
    link_secret: bytes
    password: str

    @property
    def id(self) -> str:
        return self.prepared.id


def a_sealed_transfer(resources: Resources, caller: Caller, *, keyed: bool = True, **asked) -> SealedTransfer:
    """A sealed transfer open for files, its owner's key stored unless `keyed` is False."""
    created = create_sealed_transfer(resources, caller, TransferOptions(**asked))
    transfer = SealedTransfer(created, new_secret(), new_secret())
    if keyed:
        store_owner_key(resources, caller, transfer.id, owner_wrap(transfer))
    return transfer


def owner_wrap(transfer: SealedTransfer) -> bytes:
    return sealing.wrap_for_owner(
        transfer.key,
        client_key=transfer.client_key,
        owner_part=transfer.created.owner_part,
        transfer_id=transfer.id,
    )


def ciphertext(transfer: SealedTransfer, content: bytes = CONTENT, number: int = 0) -> bytes:
    return b"".join(sealing.seal_file(transfer.key, transfer.id, number, [content]))


def sealed_name(transfer: SealedTransfer, number: int = 0) -> bytes:
    return sealing.seal_meta(transfer.key, transfer.id, number, FileMeta(NAME, "text/csv", zlib.crc32(CONTENT)))


async def deposit_sealed(
    resources: Resources,
    caller: Caller,
    transfer: SealedTransfer,
    sealed: bytes | AsyncIterator[bytes] | None = None,
    *,
    number: int = 0,
    sealed_meta: bytes | None = None,
    announced_size: int | None = None,
) -> int:
    """One sealed file into a transfer; answers the size of its plaintext."""
    coming = ciphertext(transfer, number=number) if sealed is None else sealed
    incoming = IncomingSealedFile(
        number,
        sealed_name(transfer, number) if sealed_meta is None else sealed_meta,
        body(coming) if isinstance(coming, bytes) else coming,
        announced_size,
    )
    return await deposit_sealed_file(resources, caller, transfer_id=transfer.id, incoming=incoming)


async def prepare(
    resources: Resources, caller: Caller, transfer: SealedTransfer, *, password: str | None = None
) -> SealedShare:
    """A share that nobody can claim yet."""
    password = password or new_password()
    prepared = await prepare_share(resources, caller, NewShare(transfer.id, "Agency"), password=password)
    return SealedShare(prepared, transfer, new_secret(), password)


def share_wrap(share: SealedShare) -> bytes:
    return sealing.wrap_for_share(
        share.transfer.key,
        link_secret=share.link_secret,
        server_part=share.prepared.server_part,
        transfer_id=share.transfer.id,
        share_id=share.id,
    )


def share_key(share: SealedShare) -> ShareKey:
    return ShareKey(share_wrap(share), link_proof(share.link_secret))


def let_claim(resources: Resources, caller: Caller, share: SealedShare) -> None:
    """Open a prepared share."""
    open_share(resources, caller, share.id, share_key(share))


def send_sealed(resources: Resources, caller: Caller, *, content: bytes = CONTENT, **asked) -> SealedShare:
    """Deposit one sealed file and issue one share."""
    transfer = a_sealed_transfer(resources, caller, **asked)

    async def steps() -> SealedShare:
        await deposit_sealed(resources, caller, transfer, ciphertext(transfer, content))
        return await prepare(resources, caller, transfer)

    share = run(steps())
    let_claim(resources, caller, share)
    return share


async def claim_sealed(resources: Resources, share: SealedShare, *, password: str | None = None) -> Claimed:
    """Redeem a share as a recipient's program does."""
    presented = LinkAndPassword(link_proof(share.link_secret), None, password or share.password, None, ADDRESS)
    return await claim_share(resources, share.id, presented)


def opened(share: SealedShare, claimed: Claimed) -> bytes:
    """The transfer key, from what the claim answered and the link's secret."""
    assert claimed.wrapped_key is not None
    assert claimed.server_part is not None
    return sealing.unwrap_for_share(
        claimed.wrapped_key,
        link_secret=share.link_secret,
        server_part=claimed.server_part,
        transfer_id=claimed.transfer_id,
        share_id=share.id,
    )


async def fetch_sealed(resources: Resources, share: SealedShare, claimed: Claimed, number: int = 0) -> bytes:
    """A file of a claim, decrypted by the recipient's program."""
    sealed = await fetch(resources, claimed, number, decrypted=False)
    return b"".join(sealing.open_file(opened(share, claimed), claimed.transfer_id, number, [sealed]))
