"""The staff's page: who is signed in, and sign-out."""

from __future__ import annotations

from fastapi import Request, Response

from app.domain.access_token import AUDITORS, Caller
from app.reports.forms import signed_in_page
from app.web.guard import resources_of, session_token_of
from app.web.report_pages import own_form_response


def staff_page(request: Request, caller: Caller, language: str) -> Response:
    """Return the page of somebody who is signed in."""
    settings = resources_of(request).settings
    token = session_token_of(request)
    html = signed_in_page(settings, caller, language, session_token=token, is_auditor=caller.role in AUDITORS)
    return own_form_response(html, language)
