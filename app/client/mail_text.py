"""The text to mail with a link. The service writes it, in the recipient's language and the house's time zone. For a
sealed share it has the page in the place of the link, which the service does not know.
"""

from __future__ import annotations


def mail_with_link(text: object, *, place: str, link: str, password: str) -> str | None:
    """Return the service's `text` with the link in its `place`. None if there is no text, as from an older service, or
    if it does not have the place exactly once, or has the password.
    """
    if not isinstance(text, str) or text.count(place) != 1 or password in text:
        return None
    return text.replace(place, link)
