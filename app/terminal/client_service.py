"""The service that `CADUCEE_SERVER` names, with the access token `CADUCEE_TOKEN`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx


@contextmanager
def connected() -> Iterator[httpx.Client]:
    """Yield a client of the service. Raises NotConfigured."""
    import httpx

    from app.client.errors import NotConfigured
    from app.client.http_calls import TIMEOUT_SECONDS, Service

    service = Service.from_environment()
    headers = {"Authorization": f"Bearer {service.token}"}
    try:
        http = httpx.Client(base_url=service.server, headers=headers, timeout=TIMEOUT_SECONDS)
    except httpx.InvalidURL:
        raise NotConfigured("CADUCEE_SERVER is no address: https://host") from None
    with http:
        yield http
