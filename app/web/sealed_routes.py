"""Sealed transfers: depositors' clients upload wrapped keys and encrypted files, which the server cannot decrypt."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from app.actions.deposit_sealed_file import deposit_sealed_file
from app.actions.keep_owner_key import show_owner_key, store_owner_key
from app.actions.open_share import ShareKey, open_share
from app.crypto.encoding import decode, encode
from app.crypto.errors import MalformedSecret
from app.crypto.wrapping import KEY_BYTES, WRAPPED_KEY_BYTES
from app.domain.errors import InvalidRequest, TransferIsSealed
from app.web.bodies import incoming_sealed_file
from app.web.guard import CurrentCaller, CurrentResources, GuardedRoute, reply_of
from app.web.schemas import FileCreated, OwnerKeyRequest, OwnerKeyShown, ShareKeyRequest


async def _no_client_key(request: Request) -> None:
    """Refuse a client key, which must never leave the depositor's client. Raises TransferIsSealed."""
    if "caducee-client-key" in request.headers:
        raise TransferIsSealed


router = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["sealed"], dependencies=[Depends(_no_client_key)])


@router.put("/transfers/{transfer_id}/key", status_code=204, response_class=Response)
async def put_owner_key(
    transfer_id: str, asked: OwnerKeyRequest, caller: CurrentCaller, resources: CurrentResources
) -> None:
    """Store the transfer key that the depositor's client wrapped for itself. Works once."""
    wrapped_key = _bytes(asked.wrapped_key, "wrapped_key", WRAPPED_KEY_BYTES)
    await resources.in_thread(store_owner_key, resources, caller, transfer_id, wrapped_key)


@router.get("/transfers/{transfer_id}/key", response_model_exclude_none=True)
async def get_owner_key(transfer_id: str, caller: CurrentCaller, resources: CurrentResources) -> OwnerKeyShown:
    """Return the values from which the depositor's client, with its client key, recovers the transfer key."""
    found = await resources.in_thread(show_owner_key, resources, caller, transfer_id)
    wrapped_key = None if found.wrapped_key is None else encode(found.wrapped_key)
    return OwnerKeyShown(owner_part=encode(found.owner_part), wrapped_key=wrapped_key)


@router.put("/transfers/{transfer_id}/blobs/{number}", status_code=201, response_model_exclude_none=True)
async def add_blob(
    request: Request, transfer_id: str, number: int, caller: CurrentCaller, resources: CurrentResources
) -> FileCreated:
    """Upload one sealed file to a transfer. The size in the response is that of the plaintext."""
    file = incoming_sealed_file(request, number)
    size = await deposit_sealed_file(resources, caller, transfer_id=transfer_id, incoming=file)
    return FileCreated(number=number, size=size)


@router.put("/shares/{share_id}/key", status_code=204, response_class=Response)
async def put_share_key(
    request: Request, share_id: str, asked: ShareKeyRequest, caller: CurrentCaller, resources: CurrentResources
) -> None:
    """Open a prepared share with the transfer key, wrapped for its recipient by the depositor's client. Works once."""
    wrapped_key = _bytes(asked.wrapped_key, "wrapped_key", WRAPPED_KEY_BYTES)
    link_proof = _bytes(asked.link_proof, "link_proof", KEY_BYTES)
    key = ShareKey(wrapped_key, link_proof)
    await resources.in_thread(open_share, resources, caller, share_id, key, reply=reply_of(request))


def _bytes(text: str, member: str, length: int) -> bytes:
    try:
        return decode(text, length=length)
    except MalformedSecret:
        raise InvalidRequest(f"{member}: {length} bytes, base64url without padding.") from None
