"""The text of an issued share, for people: three blocks, to send by mail, to tell by telephone, and to keep. Programs
of depositors take the first one, without its heading, and show the password themselves.

Each block begins with a line of its own and holds no blank line. A text that a depositor chose stands at the end of a
line and on one line, so that none can pass for the beginning of a block. File names are patient data and client keys
are secret: neither is in the first two blocks. The password is only in the second one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime, get_timezone_location, get_timezone_name
from babel.units import format_unit

from app.domain.transfer import is_plain
from app.runtime.settings import Settings
from app.web.pages.catalogues import DEFAULT_LANGUAGE, counted, sentence
from app.web.schemas import ShareCreated

_UNITS = ("byte", "kilobyte", "megabyte", "gigabyte", "terabyte")


@dataclass(frozen=True, slots=True, repr=False)
class SharedFiles:
    """The facts of a share that its JSON does not repeat. `name` and `client_key` are None where the service does not
    know them: it cannot read names, and does not send a client's own key back.
    """

    transfer_id: str
    recipient: str
    label: str | None
    sizes: tuple[int, ...]
    name: str | None = None
    client_key: str | None = None


def share_text(answer: ShareCreated, files: SharedFiles, *, settings: Settings, language: str) -> str:
    """Return the three blocks in a language."""
    values = _values(answer.expires_at, files, settings=settings, language=language)
    values |= {"share": answer.share_id, "link": answer.link, "password": answer.password}
    values |= _commands(answer, files, settings, language)
    blocks = (("share_mail", *_mail(settings)), ("share_telephone", "share_password"), _keep(files))
    return "\n".join(_written(block, values, language) for block in blocks)


def mail_text(link: str, expires_at: datetime, files: SharedFiles, *, settings: Settings, language: str) -> str:
    """Return the text to mail, in a language. Of a sealed share, `link` is the page: the depositor's program completes
    it.
    """
    values = _values(expires_at, files, settings=settings, language=language) | {"link": link}
    return _written(_mail(settings), values, language)


def _written(block: Iterable[str], values: dict[str, str], language: str) -> str:
    return "".join(f"{sentence(language, key)}\n".format(**values) for key in block if key)


def _values(expires_at: datetime, files: SharedFiles, *, settings: Settings, language: str) -> dict[str, str]:
    values = {
        "subject": files.label or sentence(language, "title"),
        "organisation": settings.organisation,
        "contact": settings.contact,
        "recipient": files.recipient,
        "files": counted(language, "share_count", len(files.sizes)),
        "size": size_shown(sum(files.sizes), language),
        "name": files.name or "",
        "expiry": moment_shown(expires_at, settings=settings, language=language),
        "transfer": files.transfer_id,
        "key": files.client_key or "",
    }
    return {name: _on_one_line(value) for name, value in values.items()}


def _mail(settings: Settings) -> tuple[str, ...]:
    return (
        "share_subject",
        "share_house" if settings.organisation else "share_waiting",
        "share_link",
        "share_advice",
        "share_contact" if settings.contact else "",
    )


def _keep(files: SharedFiles) -> tuple[str, ...]:
    return (
        "share_keep",
        "share_recipient",
        "share_name" if files.name else "",
        "share_size",
        "share_until",
        "share_transfer",
        "share_share",
        "share_key" if files.client_key else "share_key_own",
        "share_withdraw",
        "share_again" if files.client_key else "share_again_own",
        "share_fetched",
        "share_delete",
        "share_receipt",
    )


def _commands(answer: ShareCreated, files: SharedFiles, settings: Settings, language: str) -> dict[str, str]:
    """Return command lines for a POSIX shell, with the ids in place."""
    bearer = '-H "Authorization: Bearer $TOKEN"'
    at = f"{settings.staff_origin}/api/v1"
    transfer = f"{at}/transfers/{files.transfer_id}"
    return {
        "withdraw": f"curl --fail-with-body -X DELETE {bearer} '{at}/shares/{answer.share_id}'",
        "again": _issue_again(files, settings, language),
        "fetched": f"curl --fail-with-body {bearer} '{transfer}'",
        "delete": f"curl --fail-with-body -X DELETE {bearer} '{transfer}'",
        "receipt": f"curl --fail-with-body {bearer} '{transfer}/receipt'",
    }


def _issue_again(files: SharedFiles, settings: Settings, language: str) -> str:
    """Return a command line for a POSIX shell. Within its single quotes nothing needs to be quoted again: JSON escapes
    everything outside ASCII, and here the apostrophe.
    """
    body = json.dumps({"recipient": files.recipient}).replace("'", "\\u0027")
    key = f"'Caducee-Client-Key: {files.client_key}'" if files.client_key else '"Caducee-Client-Key: $KEY"'
    return (
        f"curl --fail-with-body -H \"Authorization: Bearer $TOKEN\" -H {key} -H 'Content-Type: application/json' "
        f"-H 'Accept: text/plain' -H 'Accept-Language: {language}' -d '{body}' "
        f"'{settings.staff_origin}/api/v1/transfers/{files.transfer_id}/shares'"
    )


def _on_one_line(text: str) -> str:
    """Return the text with a mark in place of each line break, control character and directional mark."""
    return "".join(character if is_plain(character) else "\N{REPLACEMENT CHARACTER}" for character in text)


def moment_shown(moment: datetime, *, settings: Settings, language: str) -> str:
    """Return a time in the house's zone, which is named in words."""
    local, locale = moment.astimezone(settings.zone), _locale(language)
    form = sentence(language, "share_expiry")
    zone = get_timezone_name(local, locale=locale)
    has_place = not settings.zone.key.startswith("Etc/")
    if has_place and any(character.isdigit() for character in zone):  # no name, only an offset: add the country
        zone = f"{get_timezone_location(local, locale=locale)}, {zone}"
    return f"{format_datetime(local, form, tzinfo=settings.zone, locale=locale)} ({zone})"


def size_shown(count: int, language: str) -> str:
    """Return a number of bytes in decimal units, as the recipient's page shows it."""
    step = 0
    while count >= 1000 ** (step + 1) and step < len(_UNITS) - 1:
        step += 1
    amount = round(count / 1000**step, 1 if step else 0)
    return format_unit(amount, f"digital-{_UNITS[step]}", "short" if step else "long", locale=_locale(language))


def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language)
    except (UnknownLocaleError, ValueError):
        return Locale.parse(DEFAULT_LANGUAGE)
