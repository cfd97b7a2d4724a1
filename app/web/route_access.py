"""Which routes need a caller, and of which role, by the names of their functions. `guard.py` enforces it."""

from __future__ import annotations

from app.domain.access_token import ADMINISTRATORS, AUDITORS, DEPOSITORS, Role

OPEN_ROUTES = frozenset(
    {
        "recipient_home",
        "altered_page",
        "capitalised_page",
        "recipient_page",
        "recipient_asset",
        "staff_asset",
        "house_asset",
        "look",
        "share_receipt",
        "claim",
        "content",
        "fetch_file",
        "fetch_blob",
        "fetch_zip",
        "complete",
        "livez",
        "readyz",
        "audit_entrance",
        "staff_home",
        "sign_in_page",
        "sign_in",
        "sign_in_start",
        "sign_in_callback",
        "provider_logout",
    }
)
"""Routes without a caller. They authenticate recipients by link, password or claim token; show a page without data; or
sign somebody in or out, by what the request itself proves. They ignore query parameters that they do not know, because
mail programs and link scanners add some to links, and identity providers to the address of their return.
"""

PROBES = frozenset({"livez", "readyz"})
"""Routes that belong to no party."""

ANY_ROLE_ROUTES = frozenset({"me", "openapi", "sign_out"})
"""Routes for every valid token, whatever its role."""

AUDIT_ROUTES = frozenset(
    {
        "audit_retention",
        "audit_exposure",
        "audit_deliveries",
        "audit_log",
        "audit_checkpoint",
        "audit_consistency",
        "audit_export",
        "audit_receipt",
        "audit_form",
        "house_overview",
        "house_retention",
        "house_exposure",
        "house_deliveries",
        "house_log",
        "house_receipts",
        "house_checkpoint",
        "house_consistency",
        "house_export",
    }
)
"""Routes for auditors and administrators. Routes on none of these lists are for depositors and administrators."""

ADMIN_ROUTES = frozenset(
    {
        "list_tokens",
        "create_token",
        "revoke_token",
        "list_browser_sessions",
        "revoke_browser_session",
        "lockdown_status",
        "begin_lockdown",
        "intake_status",
        "set_intake",
        "house_tokens",
        "house_new_token",
        "house_create_token",
        "house_revocation",
        "house_revoke_token",
        "house_sessions",
        "house_sign_out",
        "house_revoke_session",
        "house_service",
        "house_lock_down",
        "house_set_intake",
    }
)
"""Routes for administrators alone."""

HOUSE_PAGES = frozenset(
    {
        "house_overview",
        "house_retention",
        "house_exposure",
        "house_deliveries",
        "house_log",
        "house_receipts",
        "house_checkpoint",
        "house_tokens",
        "house_new_token",
        "house_revocation",
        "house_sessions",
        "house_sign_out",
        "house_service",
    }
)
"""Pages that a signed-in browser opens by their address: also from a bookmark, a link in a mail, or on its return from
the identity provider. They change nothing, and no frame can hold them.
"""

HOUSE_FORMS = frozenset(
    {
        "house_consistency",
        "house_create_token",
        "house_revoke_token",
        "house_revoke_session",
        "house_lock_down",
        "house_set_intake",
    }
)
"""Forms on the pages of the house. Their refusals are pages of the house, too."""

FORM_ROUTES = frozenset({"audit_form", "sign_in", "sign_out", "provider_logout"}) | HOUSE_FORMS
"""Routes for a form, whose body holds what other routes take from headers: an access token, or a session's token."""

SIGN_IN_FORMS = frozenset({"sign_in", "sign_out"})
"""Forms whose refusal is a page that leads to the sign-in page."""


def roles_of(route: str) -> tuple[Role, ...]:
    """Return the roles that a route is for; every role for routes that ask for none."""
    if route in ANY_ROLE_ROUTES:
        return tuple(Role)
    if route in ADMIN_ROUTES:
        return ADMINISTRATORS
    return AUDITORS if route in AUDIT_ROUTES else DEPOSITORS
