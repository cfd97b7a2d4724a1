"""An organisation's colour on the recipient's page, adjusted to the contrast of 4.5 to 1 that WCAG 2.2 requires.

A colour with less contrast is darkened on the light page and lightened on the dark page until it complies.
"""

from __future__ import annotations

SURFACE_LIGHT = "#fffefb"
SURFACE_DARK = "#182425"
"""The page's surface colours in static/page.css; a test compares."""

CONTRAST = 4.5
_STEP = 0.04

Colour = tuple[float, float, float]


def brand_css(colour: str) -> str:
    """Return the style sheet for a colour like `#17605b`; without a colour, only a comment."""
    if not colour:
        return "/* no colour of the house's own: CADUCEE_BRAND_COLOUR */\n"
    given = _parsed(colour)
    light = _readable(given, on=_parsed(SURFACE_LIGHT), towards=(0.0, 0.0, 0.0))
    dark = _readable(given, on=_parsed(SURFACE_DARK), towards=(1.0, 1.0, 1.0))
    return f":root {{\n{_tokens(light)}}}\n\n@media (prefers-color-scheme: dark) {{\n:root {{\n{_tokens(dark)}}}\n}}\n"


def _tokens(accent: Colour) -> str:
    """Return the CSS variables: the accent, a stronger one for hovering, and the text colour on it."""
    black, white = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    ink = white if contrast(accent, white) >= contrast(accent, black) else black
    strong = _mixed(accent, black if ink == white else white, 0.2)
    return f"  --accent: {_written(accent)};\n  --accent-strong: {_written(strong)};\n  --on-accent: {_written(ink)};\n"


def _readable(colour: Colour, *, on: Colour, towards: Colour) -> Colour:
    while contrast(colour, on) < CONTRAST:
        colour = _mixed(colour, towards, _STEP)
    return colour


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast ratio of two colours (WCAG 2.2)."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Colour) -> float:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mixed(colour: Colour, other: Colour, part: float) -> Colour:
    red, green, blue = (own * (1 - part) + its * part for own, its in zip(colour, other, strict=True))
    return red, green, blue


def _parsed(colour: str) -> Colour:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _written(colour: Colour) -> str:
    return "#" + "".join(f"{round(part * 255):02x}" for part in colour)
