"""The certificate of destruction: what a receipt of deletion attests, in one document that a person can file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.domain.evidence import SignedHead


@dataclass(frozen=True, slots=True)
class Certificate:
    """`observed_at` is when the service searched for keys and objects of the transfer and found none. `ending` is why
    it ended. `claims` and `downloads` count what the log has of the time before, None if that part was pruned.
    `receipt` is the proof that everything but these two counts rests on, `public_key` the key that verifies it.
    """

    transfer: str
    observed_at: datetime
    ending: str | None
    files: int
    bytes: int
    entry: int
    checkpoint: SignedHead
    claims: int | None
    downloads: int | None
    receipt: str
    public_key: str
    made_at: datetime
    version: str
