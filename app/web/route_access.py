"""Which routes need a caller, and of which role, by the names of their functions. `guard.py` enforces it."""

from __future__ import annotations

OPEN_ROUTES = frozenset(
    {
        "recipient_home",
        "altered_page",
        "capitalised_page",
        "recipient_page",
        "recipient_asset",
        "staff_asset",
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
    }
)
"""Routes for auditors and administrators. Routes on none of these lists are for depositors."""

FORM_ROUTES = frozenset({"audit_form", "sign_in", "sign_out", "provider_logout"})
"""Routes for a form, whose body holds what other routes take from headers: an access token, or a session's token."""

SIGN_IN_FORMS = frozenset({"sign_in", "sign_out"})
"""Forms whose refusal is a page that leads to the sign-in page."""
