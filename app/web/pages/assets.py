"""The pages and their assets by address, for serving and for `doctor --assets`.

A page loads its assets under names that contain a digest of all of them, so that browsers may keep them for ever.
Catalogues and the service worker are loaded under their plain names: a script requests them, and the worker's address
must not change.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from app.reports.page import figures_style
from app.runtime.settings import Settings
from app.web.pages.brand import brand_css
from app.web.pages.catalogues import catalogue_json, languages
from app.web.pages.page_files import HOUSE, IMPORT, RECIPIENT, STAFF, PageFiles, names_served, static_file
from app.web.pages.render import render_recipient_page, render_staff_page, versioned

MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
}

WORKER = "sw.js"
_VERSION_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that the page loads, uncompressed and gzipped."""

    content: bytes
    media_type: str
    zipped: bytes


@cache
def assets(settings: Settings, page_files: PageFiles) -> dict[str, Asset]:
    """Return every asset of a page by name; read once."""
    found = {name: static_file(name) for name in names_served(page_files)}
    if page_files.catalogue:
        found |= {f"{language}.json": catalogue_json(language, page_files.catalogue) for language in languages()}
    else:
        found["figures.css"] = figures_style().encode()
    found["brand.css"] = brand_css(settings.brand_colour).encode()
    if settings.brand_logo:
        found[settings.logo_name] = settings.brand_logo.read_bytes()
    return {name: _asset(name, content) for name, content in sorted(found.items())}


@cache
def lasting_assets(settings: Settings, page_files: PageFiles) -> dict[str, Asset]:
    """Return the assets whose name contains the version, by that name. Their imports name the same version."""
    version = _version(settings, page_files)

    def of_this_version(found: re.Match[bytes]) -> bytes:
        return f'"./{versioned(found[1].decode(), version)}"'.encode()

    return {
        versioned(name, version): _asset(name, IMPORT.sub(of_this_version, asset.content))
        for name, asset in assets(settings, page_files).items()
        if name != WORKER and not name.endswith(".json")
    }


def lasting_name(settings: Settings, page_files: PageFiles, name: str) -> str:
    """Return the address of an asset under its lasting name."""
    return f"{page_files.prefix}{versioned(name, _version(settings, page_files))}"


@cache
def _version(settings: Settings, page_files: PageFiles) -> str:
    """Return a digest of the name and content of every asset of a page."""
    digest = sha256()
    for name, asset in assets(settings, page_files).items():
        digest.update(f"{name} {len(asset.content)} ".encode() + asset.content)
    return digest.hexdigest()[:_VERSION_DIGITS]


def _asset(name: str, content: bytes) -> Asset:
    return Asset(content, MEDIA_TYPES[name.rpartition(".")[2]], gzip.compress(content, mtime=0))


@cache
def page(settings: Settings, language: str, first: str = "loading") -> Asset:
    """Return the page of a link, or with `first="home"` that of the bare address. It contains no secret, so compressing
    it is safe from BREACH.
    """
    content = render_recipient_page(settings, language, version=_version(settings, RECIPIENT), first=first).encode()
    return Asset(content, "text/html; charset=utf-8", gzip.compress(content, mtime=0))


@cache
def staff_page_asset(settings: Settings, language: str) -> Asset:
    """Return the page of staff. It, too, contains no secret: its script fetches the session's token."""
    content = render_staff_page(settings, language, version=_version(settings, STAFF)).encode()
    return Asset(content, "text/html; charset=utf-8", gzip.compress(content, mtime=0))


def everything_served(settings: Settings) -> Iterator[tuple[str, bytes]]:
    """Yield address and content of the recipient's page in each language, and of the assets of every page. `*` stands
    for any share id.
    """
    for language in languages():
        yield f"/?lang={language}", page(settings, language, "home").content
        yield f"/s/*?lang={language}", page(settings, language).content
    for each in (RECIPIENT, STAFF, HOUSE):
        for name, asset in (assets(settings, each) | lasting_assets(settings, each)).items():
            yield f"{each.prefix}{name}", asset.content
