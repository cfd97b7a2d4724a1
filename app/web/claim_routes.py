"""Claims: download the files of a claimed share, resume, and confirm that everything has arrived."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.actions.complete_claim import complete_claim
from app.actions.fetch_file import ClaimFiles, open_files
from app.web.content import archive_response
from app.web.guard import ClaimToken, ClientAddress, CurrentResources, GuardedRoute
from app.web.streaming import StreamedDownload, attachment, range_header, requested_range, saved_as

router = APIRouter(prefix="/api/v1/claims/{claim_id}", route_class=GuardedRoute, tags=["receive"])


@router.head("/files/{number}", include_in_schema=False)
@router.get("/files/{number}")
async def fetch_file(
    request: Request, claim_id: str, number: int, token: ClaimToken, resources: CurrentResources, address: ClientAddress
) -> Response:
    """Return a file or a range of it, decrypted."""
    opened = await open_files(
        resources, claim_id=claim_id, token=token, numbers=[number], decrypted=True, address=address
    )
    file = opened.files[0]
    etag = f'"{file.blob_id}"'
    part = requested_range(range_header(request.headers, etag), file.size)
    headers = {**part.headers, **_left(opened), "ETag": etag, **saved_as(opened.meta(file), number)}
    download = opened.plaintext(file, part.start, part.stop)
    return StreamedDownload(download, headers=headers, status=206 if part.partial else 200)


@router.head("/zip", include_in_schema=False)
@router.get("/zip")
async def fetch_zip(
    request: Request, claim_id: str, token: ClaimToken, resources: CurrentResources, address: ClientAddress
) -> Response:
    """Return all files in one ZIP, or a range of it, decrypted."""
    opened = await open_files(resources, claim_id=claim_id, token=token, numbers=None, decrypted=True, address=address)
    return archive_response(opened, request.headers, headers=_left(opened))


@router.head("/blobs/{number}", include_in_schema=False)
@router.get("/blobs/{number}")
async def fetch_blob(
    request: Request, claim_id: str, number: int, token: ClaimToken, resources: CurrentResources, address: ClientAddress
) -> Response:
    """Return a file or a range of it, encrypted as stored."""
    opened = await open_files(
        resources, claim_id=claim_id, token=token, numbers=[number], decrypted=False, address=address
    )
    file = opened.files[0]
    etag = f'"{file.blob_id}.sealed"'
    part = requested_range(range_header(request.headers, etag), file.sealed_size)
    stated = {"ETag": etag, "Content-Disposition": attachment(f"{file.number}.sealed")}
    headers = {**part.headers, **_left(opened), **stated}
    download = opened.ciphertext(file, part.start, part.stop)
    return StreamedDownload(download, headers=headers, status=206 if part.partial else 200)


@router.post("/complete", status_code=204, response_class=Response)
async def complete(claim_id: str, token: ClaimToken, resources: CurrentResources, address: ClientAddress) -> None:
    """Confirm that everything has arrived, so that the keys are destroyed. Idempotent."""
    await resources.in_thread(complete_claim, resources, claim_id=claim_id, token=token, address=address)


def _left(opened: ClaimFiles) -> dict[str, str]:
    """Return the header that states what may still be fetched, before this download."""
    return {"Caducee-Allowance-Left": str(opened.left)}
