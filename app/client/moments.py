"""Times of the service (RFC 3339), compared with this machine's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def has_passed(moment: str, *, by: timedelta = timedelta(0)) -> bool:
    """Whether a time has passed, by at least so long; False for text that is no time. One without a zone is UTC."""
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return False
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)) + by <= datetime.now(UTC)
