"""Query parameters of the depositors' routes, and the names that a route knows: `GuardedRoute` refuses all others."""

from __future__ import annotations

from fastapi.dependencies.models import Dependant
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from app.domain.audit_events import Reason
from app.domain.transfer_list import MAX_PAGE


class QueryModel(BaseModel):
    """The query parameters of a route. Its errors do not show values."""

    model_config = ConfigDict(hide_input_in_errors=True)


class TransferQuery(QueryModel):
    """The filters of a list of transfers, and the page."""

    state: StrictStr | None = None
    recipient: StrictStr | None = None
    since: StrictStr | None = Field(None, max_length=40)
    limit: int = Field(MAX_PAGE, ge=1, le=MAX_PAGE)
    after: StrictStr | None = Field(None, max_length=60)


class ReasonQuery(QueryModel):
    """Why something is ended."""

    reason: Reason | None = None


def query_names(dependant: Dependant) -> frozenset[str]:
    """Return the query parameters that a route and its dependencies declare, one by one or as a model."""
    names = set[str]()
    for field in dependant.query_params:
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names |= {member.alias or name for name, member in kind.model_fields.items()}
        else:
            names.add(field.alias)
    return frozenset(names).union(*map(query_names, dependant.dependencies))
