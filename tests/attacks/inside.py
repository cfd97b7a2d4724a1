"""The application in the test's own process, for attacks that need a hand inside: real stores, real routes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.actions import sweep as sweeping
from app.actions.issue_access_token import issue_access_token
from app.crypto.token import new_id
from app.domain.access_token import Role
from app.domain.audience import Audience
from app.main import create_app
from app.runtime.installation import open_resources
from app.runtime.resources import Resources
from app.runtime.settings import Settings


@dataclass(frozen=True)
class Inside:
    """An application under the test's hands, and its stores."""

    app: FastAPI
    resources: Resources
    http: TestClient

    def people(self, role: Role = Role.STAFF) -> dict[str, str]:
        """The header of a new token."""
        issued = issue_access_token(self.resources, name=f"test {new_id()}", role=role, lifetime=None)
        return {"Authorization": f"Bearer {issued.token}"}

    def staff(self) -> httpx.Client:
        """The client, as a depositor from now on."""
        self.http.headers.update(self.people())
        return self.http


@contextmanager
def inside(folder: Path, audience: Audience = Audience.ALL) -> Iterator[Inside]:
    """Open an installation in `folder`, swept once so that it takes deposits, and its application."""
    settings = Settings(
        data_dir=folder, argon2_time=1, argon2_memory_kib=64, argon2_lanes=1, min_free_bytes=0, log_format="json"
    )
    resources = open_resources(settings)
    asyncio.run(sweeping.sweep(resources))
    app = create_app(audience, settings=settings, resources=resources)
    with TestClient(app, base_url=settings.public_url, raise_server_exceptions=False) as http:
        yield Inside(app, resources, http)
    resources.close()
