"""Claims as tests make them and see them refused."""

import pytest

from app.crypto import chunked, wrapping
from app.db.tables import claims
from app.domain.errors import (
    Refusal,
)
from app.domain.share import ShareState
from app.domain.vault_entry import EntryName
from app.lifecycle.claimable_share import LinkAndPassword
from tests.integration.actions.stories import (
    ADDRESS,
    claim,
    count_rows,
    fetch,
    run,
    share_row,
)


def own_key(share) -> EntryName:
    return EntryName(share.transfer_id, share.expires_at, share.id)


def refusal_of(resources, share, **given) -> Refusal:
    with pytest.raises(Refusal) as caught:
        run(claim(resources, share, **given))
    return caught.value


def assert_nothing_redeemed(resources, share):
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures, row.used_at) == (ShareState.ISSUED, 0, 0, None)
    assert count_rows(resources, claims) == 0
    assert run(claim(resources, share)).transfer_id == share.transfer_id


def by_secret(share, *, password=None, token=None):
    return LinkAndPassword.by_secret(share.link_secret, password or share.password, token, ADDRESS)


def by_proof(share, *, password=None, token=None):
    return LinkAndPassword(wrapping.link_proof(share.link_secret), None, password or share.password, token, ADDRESS)


def opened_by_hand(resources, share, claimed) -> tuple[bytes, bytes]:
    """Name and content, with nothing but the link, the answer, the blob and the published formats."""
    share_key = wrapping.share_key(share.link_secret, claimed.server_part, share.id)
    transfer_key = wrapping.unwrap_for_share(
        claimed.wrapped_key, share_key=share_key, transfer_id=claimed.transfer_id, share_id=share.id
    )
    file = claimed.files[0]
    name = chunked.open_sealed(transfer_key, chunked.meta_context(claimed.transfer_id, 0), file.sealed_meta)
    blob = run(fetch(resources, claimed, decrypted=False))
    decryptor = chunked.Decryptor(transfer_key, chunked.file_context(claimed.transfer_id, 0))
    return name, b"".join(bytes(piece) for piece in decryptor.update(blob)) + bytes(decryptor.finish())
