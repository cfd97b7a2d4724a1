"""What the pages of the house share: the guard's refusals as pages, who asks, and the response around a view."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse

from app.domain.access_token import AUDITORS, DEPOSITORS, Caller
from app.domain.audit_events import Reason
from app.domain.errors import InvalidRequest, NotAuthenticated, Refusal, SessionEnded
from app.reports.forms import others
from app.reports.house import VIEWS, HouseFrame, house_page, views_for
from app.reports.words import Words
from app.web import session_cookies
from app.web.guard import CurrentCaller, CurrentResources, GuardedRoute, resources_of, session_token_of
from app.web.pages.assets import lasting_name
from app.web.pages.page_files import HOUSE
from app.web.problem_text import problem_document
from app.web.problems import FAILURES, STATUS, headers_of, refusal_for
from app.web.report_pages import known_language, wants_page
from app.web.route_access import HOUSE_PAGES

CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class HouseRoute(GuardedRoute):
    """A guarded route whose refusals are pages in the frame of the house, for a browser."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the guarded handler."""
        handle = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await handle(request)
            except (Refusal, RequestValidationError, *FAILURES) as error:
                if not wants_page(request):
                    raise
                invalid = isinstance(error, RequestValidationError)
                return refused(request, InvalidRequest() if invalid else refusal_for(error))

        return shown


class House:
    """A request for a view, of somebody who may open it."""

    def __init__(
        self, request: Request, caller: CurrentCaller, resources: CurrentResources, lang: str | None = None
    ) -> None:
        """FastAPI calls this with what the guard has found."""
        self.request, self.caller, self.resources = request, caller, resources
        self.fields: dict[str, str] = getattr(request.state, "form", {})
        """The fields of a submitted form that are not empty."""
        self.language = known_language(request, self.fields.get("lang", lang))
        self.words = Words(self.language, resources.settings.zone)

    def page(self, view: str, *, template: str | None = None, status: int = 200, **shown: object) -> Response:
        """Return a view, from its own template or another."""
        title = self.words.code("view", view)
        frame = _frame(self.request, self.words, view, self.caller)
        html = house_page(template or view, self.words, frame, title=title, **shown)
        return _response(html, self.language, status)


InHouse = Annotated[House, Depends()]


def refused(request: Request, refusal: Refusal) -> Response:
    """Return a refusal as a page: in the frame, if it is known whose browser this is. Who is signed in no more gets the
    way to sign in.
    """
    form: dict[str, str] = getattr(request.state, "form", {})
    language = known_language(request, form.get("lang", request.query_params.get("lang")))
    words = Words(language, resources_of(request).settings.zone)
    caller = getattr(request.state, "caller", None)
    sign_in = isinstance(refusal, NotAuthenticated | SessionEnded)
    html = house_page(
        "refused",
        words,
        _frame(request, words, _view_at(request.url.path), caller if isinstance(caller, Caller) else None),
        title=words("sign_in_title" if sign_in else "refused_title"),
        reasons=reasons(refusal, language),
        code=refusal.code,
        sign_in=sign_in,
        elsewhere=isinstance(caller, Caller) and caller.role not in AUDITORS,
    )
    response = _response(html, language, STATUS[type(refusal)])
    response.headers.update(headers_of(refusal))
    if sign_in and request.scope["route"].name in HOUSE_PAGES:
        session_cookies.put_way_back(response, _asked(request), resources_of(request).settings)
    return response


def reasons(refusal: Refusal, language: str) -> list[str]:
    """Return why something is refused, in the reader's language: one sentence, or two where there is a detail.

    The sentences of problem documents address the holder of a token; for these pages some have other words.
    """
    words = Words(language)
    own = f"house_refused_{refusal.code}"
    if own in words:
        return [words(own)]
    said = problem_document(refusal, STATUS[type(refusal)], language)
    if isinstance(refusal, InvalidRequest):
        return [said["detail"]]
    return list(dict.fromkeys([said["title"], said["detail"]]))


def saved(house: House, name: str, response: Response, *, dated: bool = True) -> Response:
    """Return a response that the browser saves under a name, with the day in it."""
    stem, dot, kind = name.rpartition(".")
    day = f"-{house.resources.clock.now().astimezone(house.resources.settings.zone):%Y-%m-%d}" if dated else ""
    response.headers["Content-Disposition"] = f'attachment; filename="{stem}{day}{dot}{kind}"'
    return response


def _asked(request: Request) -> str:
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path


def reason_of(house: House) -> Reason | None:
    """Return the reason that a form states. Raises InvalidRequest."""
    given = house.fields.get("reason")
    if given is not None and given not in set(Reason):
        raise InvalidRequest
    return None if given is None else Reason(given)


def _frame(request: Request, words: Words, current: str, caller: Caller | None) -> HouseFrame:
    settings = resources_of(request).settings
    path = next((view.path for view in VIEWS if view.name == current), "/house")

    def link(to: str, **query: object) -> str:
        return f"{to}?{urlencode({**query, 'lang': words.language})}"

    def here(**changes: object) -> str:
        asked = {} if request.method == "POST" else dict(request.query_params)
        return f"{path}?{urlencode({**asked, 'lang': words.language, **changes})}"

    return HouseFrame(
        organisation=settings.organisation,
        contact=settings.contact,
        logo=settings.logo_name if settings.brand_logo else None,
        current=current,
        views=() if caller is None else views_for(caller.role),
        others=others(words.language),
        name="" if caller is None else caller.name,
        may_send=caller is not None and caller.role in DEPOSITORS,
        session_token="" if caller is None or caller.session is None else session_token_of(request),
        asset=lambda name: lasting_name(settings, HOUSE, name),
        link=link,
        here=here,
    )


def _view_at(path: str) -> str:
    """Return the name of the view at this path, or of the one whose path it continues."""
    found = (view.name for view in reversed(VIEWS) if path == view.path or path.startswith(f"{view.path}/"))
    return next(found, "")


def _response(html: str, language: str, status: int) -> HTMLResponse:
    """Return a page that runs nothing, loads only this origin's styles and images, and sends only to this origin."""
    return HTMLResponse(
        html,
        status,
        headers={
            "Content-Security-Policy": CSP,
            "Content-Language": language,
            "Referrer-Policy": "same-origin",  # with `no-referrer`, browsers without Fetch Metadata send no Origin
        },
    )
