"""What requests and answers look like. Unknown members are refused: a misspelt `expires_in` must not mean 7 days."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StrictBool, StrictInt, StrictStr


def _zulu(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


Moment = Annotated[datetime, PlainSerializer(_zulu, return_type=str)]
Secret = Annotated[StrictStr, Field(max_length=256)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class TransferRequest(_Asked):
    """A transfer to open. Every member may be left out."""

    expires_in: StrictInt | StrictStr | None = None
    label: StrictStr | None = None
    purpose: StrictStr | None = None
    records: StrictInt | None = None
    sealed: StrictBool = False
    keep_until_expiry: StrictBool = False


class ShareRequest(_Asked):
    """A share to issue; of a sealed transfer with the password that the depositor's program made."""

    recipient: StrictStr
    password: Secret | None = None


class OwnerKeyRequest(_Asked):
    """The key of a sealed transfer, wrapped for its depositor."""

    wrapped_key: Secret


class ShareKeyRequest(_Asked):
    """The key of a sealed transfer, wrapped for one recipient, and the proof of that recipient's link."""

    wrapped_key: Secret
    link_proof: Secret


class LookRequest(_Asked):
    """A look at a share."""

    link_proof: Secret


class ClaimRequest(_Asked):
    """A claim: by link secret, or by link proof for programs that decrypt by themselves."""

    link_secret: Secret | None = None
    link_proof: Secret | None = None
    password: Secret
    claim_token: Secret | None = None


class TransferCreated(BaseModel):
    """An opened transfer. `client_key` is shown here only, and absent when the client brought its own. A sealed one has
    `owner_part` in its place.
    """

    id: str
    client_key: str | None = None
    owner_part: str | None = None
    expires_at: Moment


class FileCreated(BaseModel):
    """A file that is stored durably. Size in bytes."""

    number: int
    size: int


class ShareCreated(BaseModel):
    """An issued share. Link and password are shown here only."""

    share_id: str
    link: str
    password: str
    expires_at: Moment


class SharePrepared(BaseModel):
    """A share of a sealed transfer, closed until its wrapped key is put. Its link is `page#sealed.<link secret>`."""

    share_id: str
    server_part: str
    page: str
    expires_at: Moment


class OwnerKeyShown(BaseModel):
    """What a depositor's program finds the key of its sealed transfer with, beside its client key."""

    owner_part: str
    wrapped_key: str | None = None


class SendAnswer(ShareCreated):
    """A deposit with its share, in one go."""

    transfer_id: str
    client_key: str | None = None
    size: int


class FileListed(BaseModel):
    """A file of one's own transfer. Its name is encrypted; the server cannot list it."""

    number: int
    size: int
    state: str


class ShareListed(BaseModel):
    """A share of one's own transfer."""

    id: str
    recipient: str | None
    state: str
    issued_at: Moment
    expires_at: Moment
    used_at: Moment | None
    ended_at: Moment | None
    attempts_left: int
    bytes_served: int


class TransferListed(BaseModel):
    """One's own transfer. `deleted_at` is when the end of keys and bytes had been observed."""

    id: str
    state: str
    ending: str | None
    sealed: bool
    label: str | None
    purpose: str | None
    records: int | None
    keep_until_expiry: bool
    created_at: Moment
    expires_at: Moment
    deleted_at: Moment | None
    size: int
    files: list[FileListed]
    shares: list[ShareListed]


class TransferList(BaseModel):
    """The newest transfers."""

    transfers: list[TransferListed]


class Looked(BaseModel):
    """What the holder of a link may know before the password."""

    state: str
    label: str | None
    expires_at: Moment
    sealed: bool
    attempts_left: int
    used_at: Moment | None = None


class ClaimedFileShown(BaseModel):
    """A file of a claim. By proof: `sealed_meta` in place of name and type."""

    number: int
    size: int
    sealed_size: int
    name: str | None = None
    type: str | None = None
    sealed_meta: str | None = None


class ClaimAnswer(BaseModel):
    """A claim. By proof: `server_part` and `wrapped_key` are added."""

    claim_id: str
    claim_token: str
    transfer_id: str
    expires_at: Moment
    files: list[ClaimedFileShown]
    server_part: str | None = None
    wrapped_key: str | None = None


class Me(BaseModel):
    """The caller's own token."""

    id: str
    name: str
    role: str
    expires_at: Moment | None


class Readiness(BaseModel):
    """Whether the service takes deposits, and if not, why."""

    ready: bool
    reasons: list[str]
