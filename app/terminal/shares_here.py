"""`caducee share revoke` without CADUCEE_SERVER: withdraw a share as an operator on the machine."""

from __future__ import annotations

from app.actions.withdraw_share import withdraw_share
from app.domain.audit_events import Reason
from app.terminal.opened import opened


def revoke_here(share_id: str, reason: Reason | None) -> tuple[str, bool]:
    """Withdraw a share. Return its state, and whether its keys were destroyed."""
    with opened() as resources:
        ended = withdraw_share(resources, share_id, caller=None, reason=reason)
    return ended.state.value, ended.keys_destroyed
