"""Refusals: everything the service may answer other than yes, each with a stable code.

Rules and actions raise them; `app.web.problems` alone turns them into HTTP statuses (RFC 9457), `app.terminal` into
exit codes. `docs/problems.md` lists every code and a test compares the two.
"""

from __future__ import annotations

from typing import ClassVar


class Refusal(Exception):
    """A request that is refused for a reason the caller may know. `members` become members of the problem document."""

    code: ClassVar[str] = "refused"
    title: ClassVar[str] = "The request is refused."

    def __init__(self, detail: str | None = None, **members: str | int) -> None:
        """Keep the detail (a sentence without secrets, names or patient data) and the extra members."""
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.members = members


# --- what was sent cannot be understood


class InvalidRequest(Refusal):
    code = "invalid_request"
    title = "The request does not have the expected form."


class InvalidDuration(Refusal):
    code = "invalid_duration"
    title = "A duration is a whole number of seconds, or a number with s, m, h or d: 30m, 12h, 7d."


class InvalidTime(Refusal):
    code = "invalid_time"
    title = "A time is a date, or date, time and zone as in RFC 3339: 2026-01-31, 2026-01-31T08:15:00Z."


class LifetimeOutOfRange(Refusal):
    code = "lifetime_out_of_range"
    title = "The lifetime is outside what this service allows."


class InvalidFileName(Refusal):
    code = "invalid_file_name"
    title = "The file name is empty, too long, or holds characters that no file may have."


class MalformedPassword(Refusal):
    code = "malformed_password"
    title = "A password has 16 characters: digits and letters without U. No attempt was spent."


class ClientKeyRequired(Refusal):
    code = "client_key_required"
    title = "This needs the client key of the transfer in the header Caducee-Client-Key (43 characters, base64url)."


class BodyIncomplete(Refusal):
    code = "body_incomplete"
    title = "The body ended before its announced length; nothing was kept."


class ClientTooSlow(Refusal):
    code = "client_too_slow"
    title = "Nothing came from the client for too long; nothing was kept."


class MalformedCiphertext(Refusal):
    code = "malformed_ciphertext"
    title = "The body cannot be a sealed file: its length is that of none. Nothing was kept."


class RangeNotSatisfiable(Refusal):
    code = "range_not_satisfiable"
    title = "The range lies outside the file."

    def __init__(self, detail: str | None = None, *, size: int = 0, **members: str | int) -> None:
        """`size`: how many bytes the file has."""
        super().__init__(detail, **members)
        self.size = size


class TooLarge(Refusal):
    code = "too_large"
    title = "The transfer is larger than this service allows."


# --- the caller may not


class NotAuthenticated(Refusal):
    code = "not_authenticated"
    title = "A valid access token is needed: Authorization: Bearer cad_..."


class NotAllowed(Refusal):
    code = "not_allowed"
    title = "The role of this access token does not allow this."


class OwnerTaken(Refusal):
    code = "owner_taken"
    title = "This owner has a token already. Choose another name, or name the owner to make a further token for it."


class WrongClientKey(Refusal):
    code = "wrong_client_key"
    title = "The client key does not open this transfer."


class WrongPassword(Refusal):
    code = "wrong_password"
    title = "The password is wrong."


class HostNotAllowed(Refusal):
    code = "host_not_allowed"
    title = "This service does not answer under that host name."


# --- there is no such thing (or the caller may not know that there is)


class NotFound(Refusal):
    code = "not_found"
    title = "There is nothing at this address."


class MethodNotAllowed(Refusal):
    code = "method_not_allowed"
    title = "This address does not take that method."


class TransferNotFound(Refusal):
    code = "transfer_not_found"
    title = "There is no such transfer of yours."


class ShareNotFound(Refusal):
    code = "share_not_found"
    title = "This link opens nothing. Check that it was copied whole."


class ClaimNotFound(Refusal):
    code = "claim_not_found"
    title = "There is no such claim, or the claim token is not its own."


class FileNotFound(Refusal):
    code = "file_not_found"
    title = "The transfer has no file of that number."


class CheckpointNotFound(Refusal):
    code = "checkpoint_not_found"
    title = "The log has not been signed yet; the scheduler signs it within minutes."


# --- it is over


class ShareUsed(Refusal):
    code = "share_used"
    title = "This link was used already. It works once."


class ShareWithdrawn(Refusal):
    code = "share_withdrawn"
    title = "This link was withdrawn by the sender."


class ShareExpired(Refusal):
    code = "share_expired"
    title = "This link has expired and what it led to is destroyed."


class ShareLocked(Refusal):
    code = "share_locked"
    title = "Too many wrong passwords: this link is locked for good and its keys are destroyed."


class ClaimEnded(Refusal):
    code = "claim_ended"
    title = "The time to fetch these files is over."


class ClaimExhausted(Refusal):
    code = "claim_exhausted"
    title = "These files were sent three times over already; no more of them is sent."


class TransferEnded(Refusal):
    code = "transfer_ended"
    title = "The transfer has ended and its content is destroyed."


# --- not in this state


class TransferClosed(Refusal):
    code = "transfer_closed"
    title = "A share was issued: the transfer takes no more files."


class TransferEmpty(Refusal):
    code = "transfer_empty"
    title = "The transfer has no file yet."


class UploadUnfinished(Refusal):
    code = "upload_unfinished"
    title = "A file of this transfer is still being uploaded."


class TransferIsSealed(Refusal):
    code = "transfer_is_sealed"
    title = "The transfer is sealed: only the programs at both ends can encrypt and open it."


class TransferNotSealed(Refusal):
    code = "transfer_not_sealed"
    title = "The transfer is not sealed: the service encrypts it, and opens it with the client key."


class WrongFileNumber(Refusal):
    code = "wrong_file_number"
    title = "The files of a sealed transfer are numbered from 0, without a gap, each once."


class KeyAlreadySet(Refusal):
    code = "key_already_set"
    title = "A wrapped key is stored there already; it is set once and never replaced."


class OwnerKeyMissing(Refusal):
    code = "owner_key_missing"
    title = "The depositor's wrapped key is not stored yet: without it nobody could issue another share."


class ClaimedByProof(Refusal):
    code = "claimed_by_proof"
    title = "This claim decrypts by itself: fetch the blobs, not the files."


class NotDeletedYet(Refusal):
    code = "not_deleted_yet"
    title = "The transfer is not deleted yet: there is a receipt once its deletion was verified."


class ReceiptNotSigned(Refusal):
    code = "receipt_not_signed"
    title = "The deletion is in the log, but no checkpoint covers it yet. Try again in a moment."


class ReceiptPruned(Refusal):
    code = "receipt_pruned"
    title = "The log keeps no more than the hash of this deletion: its retention is over."


class DeletionContradicted(Refusal):
    code = "deletion_contradicted"
    title = "The deletion is in the log, but the service finds something of the transfer: there is no receipt."


# --- not now


class RetentionNotAssured(Refusal):
    code = "retention_not_assured"
    title = "The service cannot prove that it deletes in time, so it takes nothing in."


class ClockNotTrusted(Refusal):
    code = "clock_not_trusted"
    title = "The host's clock has leapt: nothing is taken in or given out until an operator has looked at it."


class RestoreNotAccepted(Refusal):
    code = "database_rolled_back"
    title = (
        "The database was restored from a backup: nothing is taken in or given out until an operator has accepted it."
    )


class VaultNotTrusted(Refusal):
    code = "vault_rolled_back"
    title = "The key vault is an older copy of itself: nothing is taken in or given out until an operator accepts it."


class LockedDown(Refusal):
    code = "locked_down"
    title = "The service is locked down by its operators."


class VaultOutOfReach(Refusal):
    code = "vault_unavailable"
    title = "The key vault cannot be reached. Nothing was changed; try again."


class BlobsOutOfReach(Refusal):
    code = "blobs_unavailable"
    title = "The stored files cannot be reached. Nothing was changed; try again."


class DatabaseOutOfReach(Refusal):
    code = "database_unavailable"
    title = "The database cannot be reached. Nothing was changed; try again."


class DiskNearlyFull(Refusal):
    code = "disk_nearly_full"
    title = "There is no room left for this transfer."


class Busy(Refusal):
    code = "busy"
    title = "Too many requests of this kind at once. No attempt was spent; try again in a moment."


class InternalError(Refusal):
    code = "internal_error"
    title = "The service failed. Nothing is known to be lost; the operators see it in the log."


def every_refusal() -> list[type[Refusal]]:
    """All refusals, in the order of this file: for the table of statuses and the docs."""
    return Refusal.__subclasses__()
