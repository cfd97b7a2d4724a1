"""Which host signs the log: the one whose scheduler has the signing key, never two (docs/adr/0038-nodes.md).

Schedulers of other hosts run with CADUCEE_SIGN_LOG=0. They sweep, and alert when nobody has signed for long.
"""

from __future__ import annotations

from datetime import timedelta

import structlog

from app.db import checkpoint_rows
from app.runtime.resources import Resources
from app.storage.errors import SigningUnavailable

OVERDUE = timedelta(hours=2)
"""The signer signs an idle log every hour."""

log = structlog.get_logger()


def require_signer(resources: Resources) -> None:
    """Raise SigningUnavailable if another host signs the log."""
    if not resources.settings.sign_log:
        raise SigningUnavailable(
            "this host does not sign the log (CADUCEE_SIGN_LOG=0): run the command on the host that does"
        )


def alert_if_unsigned(resources: Resources) -> None:
    """Alert if the last checkpoint in the database is older than OVERDUE, or if there is none."""
    with resources.database.reading() as connection:
        last = checkpoint_rows.last(connection)
    if last is None or resources.clock.now() - last.at > OVERDUE:
        log.error("log_not_signed", since=None if last is None else last.at.isoformat(), alert=True)
