"""The output of `caducee serve --welcome` (`make run`) once the service is ready: a token for a day, and an example."""

from __future__ import annotations

import threading
from datetime import timedelta

import httpx

from app.actions.issue_access_token import issue_access_token
from app.domain.access_token import Role, owner_named
from app.runtime.installation import open_resources
from app.runtime.settings import Settings
from app.terminal.console import put

NAME = "make run"  # of one owner: the next run sees what this one deposits
LIFETIME = timedelta(days=1)
POLL_SECONDS = 0.2

_TEXT = """
Caducée is ready at {origin}

A staff token for today:

  {token}

Open {origin}/sign-in in a browser, sign in with the token, and send a file to somebody.

Or deposit one by a command; the response shows the link and the password, only once:

  curl --fail-with-body -T README.md -H 'Authorization: Bearer {token}' -H 'Accept: text/plain' \\
    '{origin}/api/v1/send/README.md?expires_in=1h&recipient=me'

Then open the link in a browser and type the password. Ctrl+C stops the service.
"""


def welcome_when_ready(stop: threading.Event) -> None:
    """Wait until the service accepts deposits, then create the token and print the text."""
    settings = Settings()
    while not stop.wait(POLL_SECONDS):
        try:
            ready = httpx.get(f"{settings.staff_origin}/readyz", timeout=5, trust_env=False).is_success
        except httpx.HTTPError:
            continue
        if ready:
            break
    if not stop.is_set():
        resources = open_resources(settings, create=False)
        issued = issue_access_token(resources, name=NAME, role=Role.STAFF, lifetime=LIFETIME, owner=owner_named(NAME))
        resources.close()
        put(_TEXT.format(origin=settings.staff_origin, token=issued.token))
