"""Which methods an address accepts, for the refusal of another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from app.domain.errors import MethodNotAllowed
from app.web.body_rules import Body, body_of


def method_refusal(routes: Sequence[BaseRoute], scope: Scope) -> tuple[MethodNotAllowed, str]:
    """Return the refusal of a request, and the methods that its address accepts, as `Allow` lists them. `curl -d` is a
    POST: where a file is expected, the refusal names `curl -T`.
    """
    at_address = list(_matching(routes, scope))
    allowed = ", ".join(sorted({method for route in at_address for method in route.methods or ()}))
    if any(_takes_file(route) for route in at_address):
        return MethodNotAllowed(
            f"This address accepts a file, with {allowed}: send the file itself (curl -T FILE)."
        ), allowed
    return MethodNotAllowed(f"This address accepts {allowed} only."), allowed


def _matching(routes: Sequence[BaseRoute], scope: Scope) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute) and route.matches(scope)[0] is not Match.NONE:
            yield route


def _takes_file(route: APIRoute) -> bool:
    return body_of(route.name, route.methods or (), takes_json=route.body_field is not None) is Body.FILE
