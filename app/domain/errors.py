"""Refusals: the errors that the service may return to a caller, each with a stable code.

Rules and actions raise them; only `app.web.problems` maps them to HTTP statuses (RFC 9457), and `app.terminal` to exit
codes. `docs/problems.md` lists every code; a test compares the two.
"""

from __future__ import annotations

from typing import ClassVar


class Refusal(Exception):
    """A refused request, for a reason that the caller may know. `members` become members of the problem document."""

    code: ClassVar[str] = "refused"
    title: ClassVar[str] = "The request is refused."

    def __init__(self, detail: str | None = None, **members: str | int) -> None:
        """`detail` is a sentence without secrets, names or patient data; it defaults to `title`."""
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.members = members


# --- malformed requests


class InvalidRequest(Refusal):
    code = "invalid_request"
    title = "The request does not have the expected form."


class UnknownQueryParameter(Refusal):
    code = "unknown_query_parameter"
    title = "This address does not know that query parameter."


class InvalidDuration(Refusal):
    code = "invalid_duration"
    title = "A duration is a whole number of seconds, or a number with s, m, h or d: 30m, 12h, 7d."


class InvalidTime(Refusal):
    code = "invalid_time"
    title = "A time is a date, or a date, time and zone as in RFC 3339: 2026-01-31, 2026-01-31T08:15:00Z."


class LifetimeOutOfRange(Refusal):
    code = "lifetime_out_of_range"
    title = "The lifetime is outside the range that this service allows."


class InvalidFileName(Refusal):
    code = "invalid_file_name"
    title = "The file name cannot be accepted."


class InvalidFilePath(Refusal):
    code = "invalid_file_path"
    title = "The folders above the file cannot be accepted."


class EmptyBody(Refusal):
    code = "empty_body"
    title = "The body is empty; nothing was stored. If the file is meant to be empty, add allow_empty=true."


class PartialBodyRefused(Refusal):
    code = "partial_body_refused"
    title = "Only whole files are accepted; nothing was stored. Send the file again from its first byte."


class UnsupportedMediaType(Refusal):
    code = "unsupported_media_type"
    title = "The Content-Type does not fit this request."


class ContentEncodingRefused(Refusal):
    code = "content_encoding_refused"
    title = "The body must be the file itself, without Content-Encoding; nothing was stored."


class ConfirmationRequired(Refusal):
    code = "confirmation_required"
    title = "The word that confirms this was not typed; nothing was changed."


class MalformedPassword(Refusal):
    code = "malformed_password"
    title = "A password has 16 characters: digits and letters without U. No attempt was spent."


class ClientKeyRequired(Refusal):
    code = "client_key_required"
    title = "The header Caducee-Client-Key must carry the transfer's client key (43 characters, base64url)."


class BodyIncomplete(Refusal):
    code = "body_incomplete"
    title = "The body ended before its announced length; nothing was stored."


class ClientTooSlow(Refusal):
    code = "client_too_slow"
    title = "The client sent nothing for too long; nothing was stored."


class MalformedCiphertext(Refusal):
    code = "malformed_ciphertext"
    title = "The body is not a sealed file: no sealed file has this length. Nothing was stored."


class RangeNotSatisfiable(Refusal):
    code = "range_not_satisfiable"
    title = "The range lies outside the file."

    def __init__(self, detail: str | None = None, *, size: int = 0, **members: str | int) -> None:
        """`size`: the file's size in bytes."""
        super().__init__(detail, **members)
        self.size = size


class TooLarge(Refusal):
    code = "too_large"
    title = "The transfer is larger than this service allows."


# --- not permitted


class ChecksumMismatch(Refusal):
    code = "checksum_mismatch"
    title = "The part does not have the checksum that Upload-Checksum gives. Nothing of it was kept."


class TusVersionUnsupported(Refusal):
    code = "tus_version_unsupported"
    title = "Uploads follow tus 1.0.0: send Tus-Resumable: 1.0.0."


class IdempotencyKeyReused(Refusal):
    code = "idempotency_key_reused"
    title = "This Idempotency-Key was used for another request."


class IdempotencyInProgress(Refusal):
    code = "idempotency_in_progress"
    title = "A request with this Idempotency-Key is still running; try again in a moment."


class AlreadyAnswered(Refusal):
    code = "already_answered"
    title = "The response to the first request with this Idempotency-Key has arrived; its result is not replaced."


class ClientGone(Refusal):
    code = "client_gone"
    title = "The client closed the connection before the request took effect; nothing was changed."


class LinkCredentialsRequired(Refusal):
    code = "link_credentials_required"
    title = "Send link and password as HTTP Basic: the user name `link`, the password `<link secret>.<password>`."


class NotAuthenticated(Refusal):
    code = "not_authenticated"
    title = "A valid access token is needed: Authorization: Bearer cad_..."


class NotAllowed(Refusal):
    code = "not_allowed"
    title = "The role of this access token does not permit this request."


class SessionEnded(Refusal):
    code = "session_ended"
    title = "This session has ended. Sign in again."


class SessionTokenRequired(Refusal):
    code = "session_token_required"
    title = "A request that changes something needs the session's token in the header Caducee-Session-Token."


class SignInNotOffered(Refusal):
    code = "sign_in_not_offered"
    title = "Nobody can sign in here: staff and recipients share this address."


class TokenSignInNotOffered(Refusal):
    code = "token_sign_in_not_offered"
    title = "Staff sign in with their institution's account here, not with an access token."


class SignInExpired(Refusal):
    code = "sign_in_expired"
    title = "This sign-in is over, or began in another browser. Begin again."


class SignInRefused(Refusal):
    code = "sign_in_refused"
    title = "The identity provider did not sign you in, or its answer was not meant for this sign-in."


class RoleMissing(Refusal):
    code = "role_missing"
    title = "Your account has no role in this service."


class TwoRoles(Refusal):
    code = "two_roles"
    title = "Your account has two roles in this service, and a session has one."


class TeamUnclear(Refusal):
    code = "team_unclear"
    title = "Your account belongs to no team, or to several; it must belong to one."


class AuthenticationTooWeak(Refusal):
    code = "authentication_too_weak"
    title = "You signed in at the identity provider in a way that this service does not accept."


class ProviderOutOfReach(Refusal):
    code = "provider_out_of_reach"
    title = "The identity provider does not answer. Try again in a moment."


class ProviderAnswerUnusable(Refusal):
    code = "provider_answer_unusable"
    title = "The identity provider's answer cannot be used. An administrator has to look at its configuration."


class LogoutTokenRefused(Refusal):
    code = "logout_token_refused"
    title = "The logout token is not valid, too old, or was sent before."


class CrossSiteRequest(Refusal):
    code = "cross_site_request"
    title = "This form is accepted only from the service's own page."


class OwnerTaken(Refusal):
    code = "owner_taken"
    title = "This owner has a token already. Choose another name, or name the owner to make a further token for it."


class OnlyByCommand(Refusal):
    code = "only_by_command"
    title = "Only a command on the service's machine may do this."


class WrongClientKey(Refusal):
    code = "wrong_client_key"
    title = "The client key does not open this transfer."


class WrongPassword(Refusal):
    code = "wrong_password"
    title = "The password is wrong."


class HostNotAllowed(Refusal):
    code = "host_not_allowed"
    title = "This service is not configured for that host name."


# --- not found (or the caller may not know that it exists)


class NotFound(Refusal):
    code = "not_found"
    title = "There is nothing at this address."


class MethodNotAllowed(Refusal):
    code = "method_not_allowed"
    title = "This address does not allow that method."


class TransferNotFound(Refusal):
    code = "transfer_not_found"
    title = "You have no such transfer."


class ShareNotFound(Refusal):
    code = "share_not_found"
    title = "This link is not valid. Check that it was copied completely."


class TokenNotFound(Refusal):
    code = "token_not_found"
    title = "There is no such access token."


class SessionNotFound(Refusal):
    code = "session_not_found"
    title = "There is no such session."


class ClaimNotFound(Refusal):
    code = "claim_not_found"
    title = "There is no such claim, or the claim token belongs to another one."


class FileNotFound(Refusal):
    code = "file_not_found"
    title = "The transfer has no file with that number."


class CheckpointNotFound(Refusal):
    code = "checkpoint_not_found"
    title = "The log has no checkpoint yet; the scheduler signs one within minutes."


# --- no longer available


class ShareUsed(Refusal):
    code = "share_used"
    title = "This link was already used. It works only once."


class ShareWithdrawn(Refusal):
    code = "share_withdrawn"
    title = "This link was withdrawn by the sender."


class ShareExpired(Refusal):
    code = "share_expired"
    title = "This link has expired and its content is destroyed."


class ShareLocked(Refusal):
    code = "share_locked"
    title = "Too many wrong passwords: this link is locked for good and its keys are destroyed."


class ClaimEnded(Refusal):
    code = "claim_ended"
    title = "The time to fetch these files is over."


class ClaimExhausted(Refusal):
    code = "claim_exhausted"
    title = "The download allowance of this claim is used up: the files were sent three times over."


class TransferEnded(Refusal):
    code = "transfer_ended"
    title = "The transfer has ended and its content is destroyed."


# --- wrong state


class UploadNotFound(Refusal):
    code = "upload_not_found"
    title = "There is no such upload, or it is not yours, or it was ended, or it expired."


class UploadInProgress(Refusal):
    code = "upload_in_progress"
    title = "Another request is sending a part of this upload."


class WrongOffset(Refusal):
    code = "wrong_offset"
    title = "The part does not begin where the upload stands. The member offset names that place."


class TransferClosed(Refusal):
    code = "transfer_closed"
    title = "A share was issued: the transfer accepts no more files."


class TransferEmpty(Refusal):
    code = "transfer_empty"
    title = "The transfer has no file yet."


class UploadUnfinished(Refusal):
    code = "upload_unfinished"
    title = "A file of this transfer is still being uploaded."


class TransferIsSealed(Refusal):
    code = "transfer_is_sealed"
    title = "The transfer is sealed: only the sender's and recipient's programs can encrypt and decrypt it."


class TransferNotSealed(Refusal):
    code = "transfer_not_sealed"
    title = "The transfer is not sealed: the service encrypts it, and decrypts it with the client key."


class WrongFileNumber(Refusal):
    code = "wrong_file_number"
    title = "The files of a sealed transfer are numbered from 0, without gaps, and each number is used once."


class TooManyFiles(Refusal):
    code = "too_many_files"
    title = "The transfer has as many files as this service allows. Put the files into an archive."


class TooManyShares(Refusal):
    code = "too_many_shares"
    title = "The transfer has as many open shares as this service allows. Withdraw one, or deposit the files again."


class KeyAlreadySet(Refusal):
    code = "key_already_set"
    title = "A wrapped key is already stored; it is set once and never replaced."


class OwnerKeyMissing(Refusal):
    code = "owner_key_missing"
    title = "The depositor's wrapped key is not stored yet; without it nobody could issue another share."


class ClaimedByProof(Refusal):
    code = "claimed_by_proof"
    title = "This claim was made by proof, so its client decrypts: fetch the blobs, not the files."


class NotDeletedYet(Refusal):
    code = "not_deleted_yet"
    title = "The transfer is not deleted yet: a receipt exists once its deletion is verified."


class ReceiptNotSigned(Refusal):
    code = "receipt_not_signed"
    title = "The deletion is logged, but no checkpoint covers it yet. Try again in a moment."


class ReceiptPruned(Refusal):
    code = "receipt_pruned"
    title = "The retention of this log entry is over: the log keeps only its hash."


class DeletionContradicted(Refusal):
    code = "deletion_contradicted"
    title = "The deletion is logged, but the service found remains of the transfer: there is no receipt."


class LogAltered(Refusal):
    code = "log_altered"
    title = "The log was altered, so nothing can be proved from it. Verify the log."


# --- temporarily unavailable


class RetentionNotAssured(Refusal):
    code = "retention_not_assured"
    title = "The service cannot prove that it deletes in time, so it accepts no deposits."


class ClockNotTrusted(Refusal):
    code = "clock_not_trusted"
    title = "The host's clock jumped: deposits and downloads are stopped until an operator has checked it."


class RestoreNotAccepted(Refusal):
    code = "database_rolled_back"
    title = "The database was restored from a backup: deposits and downloads are stopped until an operator accepts it."


class VaultNotTrusted(Refusal):
    code = "vault_rolled_back"
    title = "The key vault is an older copy: deposits and downloads are stopped until an operator accepts it."


class LockedDown(Refusal):
    code = "locked_down"
    title = "The operators have locked down the service."


class IntakeOff(Refusal):
    code = "intake_off"
    title = "The operators accept no new transfers. Those that exist go on."


class VaultOutOfReach(Refusal):
    code = "vault_unavailable"
    title = "The key vault cannot be reached. Nothing was changed; try again."


class BlobsOutOfReach(Refusal):
    code = "blobs_unavailable"
    title = "The stored files cannot be reached. Nothing was changed; try again."


class DatabaseOutOfReach(Refusal):
    code = "database_unavailable"
    title = "The database cannot be reached. Try again."


class ChangeNotConfirmed(Refusal):
    code = "change_not_confirmed"
    title = "The database did not confirm the change. Look whether it was made; if not, call the operators."


class DiskNearlyFull(Refusal):
    code = "disk_nearly_full"
    title = "There is not enough disk space for this transfer."


class Busy(Refusal):
    code = "busy"
    title = "Too many requests of this kind at once. No attempt was spent; try again in a moment."


class InternalError(Refusal):
    code = "internal_error"
    title = "The service failed. The error is in the operators' log."


def every_refusal() -> list[type[Refusal]]:
    """Return all refusals in the order of this file, for the status table and the docs."""
    return Refusal.__subclasses__()
