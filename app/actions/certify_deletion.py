"""Build the certificate of destruction of a transfer from its receipt.

The receipt is verified first, against the log's public key, as its reader will verify it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version

from app.crypto.errors import CryptoError
from app.crypto.signed_note import Checkpoint, Verifier
from app.crypto.tlog_proof import TlogProof
from app.domain.audit_events import Event
from app.domain.certificate import Certificate
from app.domain.errors import ReceiptNotSigned
from app.domain.period import Period
from app.domain.transfer_account import TransferAccount
from app.lifecycle.evidence import signed_head
from app.lifecycle.transfer_entries import entries_of, interpreting
from app.runtime.resources import Resources
from app.storage.signing_folder import SigningFolder

ALWAYS = Period(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


class ReceiptInvalid(Exception):
    """The receipt does not verify with the log's public key: the log or its folder was altered."""


def certify_deletion(resources: Resources, receipt: str) -> Certificate:
    """Return the certificate for a receipt of this service. Raises ReceiptInvalid, ReceiptNotSigned, LogUnreadable."""
    key = SigningFolder(resources.settings.signing_dir).verifier_key()
    if key is None:
        raise ReceiptNotSigned
    entry, signed = _verified(receipt, key)
    account = _account_of(resources, str(entry["transfer"]), int(entry["sequence"]))
    told = account.held.created_at is not None  # otherwise its first entries were pruned
    claims = account.claims.values()
    return Certificate(
        transfer=str(entry["transfer"]),
        observed_at=datetime.fromisoformat(entry["time"]),
        ending=entry.get("outcome"),
        files=int(entry["files"]),
        bytes=int(entry["size"]),
        entry=int(entry["sequence"]),
        checkpoint=signed_head(signed),
        claims=len(claims) if told else None,
        downloads=sum(claim.downloads for claim in claims) if told else None,
        receipt=receipt,
        public_key=key,
        made_at=resources.clock.now(),
        version=version("caducee"),
    )


def _verified(receipt: str, key: str) -> tuple[dict[str, str], Checkpoint]:
    """Return the entry of the deletion, and the checkpoint that covers it. Raises ReceiptInvalid."""
    try:
        proof = TlogProof.parse(receipt)
        signed = proof.verify(Verifier.parse(key))
        entry: dict[str, str] = json.loads(proof.entry)
    except (CryptoError, ValueError) as error:
        raise ReceiptInvalid(
            "the receipt does not verify with the log's public key: run `caducee audit verify`"
        ) from error
    if entry["event"] != Event.TRANSFER_DELETED:
        raise ReceiptInvalid("the receipt's entry does not record a deletion: run `caducee audit verify`")
    return entry, signed


def _account_of(resources: Resources, transfer: str, until: int) -> TransferAccount:
    """Return the account of a transfer from its entries before number `until`."""
    account = TransferAccount(transfer, ALWAYS)
    for each in entries_of(resources, [transfer], until):
        with interpreting(each):
            fields = each.fields()
            account.add(str(fields["event"]), each.at, fields)
    return account
