"""Query parameters of the depositors' routes, checked: an unknown or repeated one is refused, never ignored."""

from __future__ import annotations

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from app.domain.audit_events import Reason
from app.domain.errors import InvalidRequest
from app.domain.transfer_list import MAX_PAGE


class StrictQuery(BaseModel):
    """Refuses unknown parameters: a misspelt `sate` must not return every transfer."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class TransferQuery(StrictQuery):
    """The filters of a list of transfers, and the page."""

    state: StrictStr | None = None
    recipient: StrictStr | None = None
    since: StrictStr | None = Field(None, max_length=40)
    limit: int = Field(MAX_PAGE, ge=1, le=MAX_PAGE)
    after: StrictStr | None = Field(None, max_length=60)


class ReasonQuery(StrictQuery):
    """Why something is ended."""

    reason: Reason | None = None


def require_no_repeats(request: Request) -> None:
    """Raise InvalidRequest for a repeated parameter, of which the framework would use the last."""
    if len(request.query_params.multi_items()) != len(request.query_params):
        raise InvalidRequest("A query parameter is repeated.")
