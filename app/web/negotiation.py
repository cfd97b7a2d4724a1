"""Content negotiation: what the `Accept` and `Accept-Language` of a request prefer (RFC 9110, 12.4.2), and `Prefer`
(RFC 7240).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_MOST_RANGES = 20
"""The ranges of a header that count; more are not a preference but a flood."""

_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?", re.ASCII)


def weighted(header: str | None) -> Iterator[tuple[str, float]]:
    """Yield each range of a header, in lower case and without parameters, with its weight from 0 to 1, in the header's
    order. A range with a malformed weight is left out.
    """
    for part in (header or "").split(",")[:_MOST_RANGES]:
        value, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights = [piece.partition("=")[2].strip() for piece in parameters if piece.partition("=")[0].strip() == "q"]
        if value and all(_WEIGHT.fullmatch(weight) for weight in weights):
            yield value, float(weights[0]) if weights else 1.0


def wants_text(accept: str | None) -> bool:
    """Return whether the client prefers plain text to JSON. It must name text: `*/*` means JSON. Of equal weights, the
    type that is named first counts.
    """
    text = json = 0.0
    json_first = False
    for value, weight in weighted(accept):
        if value in {"text/plain", "text/*"}:
            text = max(text, weight)
        elif value in {"application/json", "application/problem+json", "application/*"}:
            json, json_first = max(json, weight), json_first or text == 0
    return text > json or (text == json > 0 and not json_first)


def wants_representation(prefer: list[str]) -> bool:
    """Return whether the `Prefer` headers ask for the resource in the response (RFC 7240, 4.2). The first `return`
    counts.
    """
    stated = (piece.partition(";")[0].split("=") for line in prefer for piece in line.split(",")[:_MOST_RANGES])
    words = ([word.strip().strip('"').lower() for word in each] for each in stated)
    return next((each[1:] == ["representation"] for each in words if each[0] == "return"), False)
