"""Where `share revoke` and `transfer delete` act: over HTTP, or in the installation on this machine.

One rule: over HTTP where CADUCEE_SERVER is set, as a depositor with an access token; else here, as an operator.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from app.client.errors import NotConfigured
from app.terminal.console import REFUSED, put_json, say

if TYPE_CHECKING:
    from app.client.own_transfers import OwnTransfers


def is_over_http() -> bool:
    """Whether the commands act over HTTP."""
    return bool(os.environ.get("CADUCEE_SERVER"))


@contextmanager
def own_transfers() -> Iterator[OwnTransfers]:
    """Connect to the service of CADUCEE_SERVER, with CADUCEE_TOKEN. Raises NotConfigured."""
    from app.client.http_calls import Service
    from app.client.own_transfers import OwnTransfers
    from app.client.state import ClientState

    with Service.from_environment().connect() as http:
        yield OwnTransfers(http, ClientState())


@contextmanager
def service_installed() -> Iterator[None]:
    """Import what opens an installation. Raises NotConfigured where only the client is installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("app"):
            raise
        raise NotConfigured("set CADUCEE_SERVER (https://...) and CADUCEE_TOKEN (cad_...)") from None


def put_ended(ident: str, state: str, *, keys_destroyed: bool, as_json: bool, then: str = "") -> None:
    """Print what became of a transfer or share. Raises typer.Exit if its keys are not destroyed yet."""
    if as_json:
        put_json({"id": ident, "state": state, "keys_destroyed": keys_destroyed})
    elif keys_destroyed:
        say(f"{ident}: {state}, keys destroyed{then}")
    else:
        say(f"{ident}: {state}; its keys could NOT be destroyed: the sweeps retry")
    if not keys_destroyed:
        raise typer.Exit(REFUSED)
