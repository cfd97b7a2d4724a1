"""Take the pictures of the pages that the README and the documents show: `make screenshots`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import httpx
from playwright.sync_api import Browser

from tests.acceptance.people import Share, add_file, issue, ok, open_transfer, send
from tests.acceptance.service import Installation
from tests.browser.chromium import chromium, program
from tests.browser.depositor import Depositor
from tests.browser.proxy import Road, road
from tests.browser.reader import Reader

IMAGES = Path(__file__).parents[2] / "docs" / "images"
DESK = {"width": 900, "height": 860}
PHONE = {"width": 390, "height": 860}


def main(folder: Path) -> None:
    """Write every picture into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, road() as way, chromium(program()) as browser:
        settings = {"ORGANISATION": "Hôpital des Essais", "CONTACT": "01 99 00 12 34", "PUBLIC_URL": way.origin}
        installation = Installation(Path(data), **settings)
        with (
            installation.serving() as server,
            server.http(installation.token(), host=f"127.0.0.1:{way.port}") as staff,
        ):
            way.target = server.port
            transfer, key = open_transfer(staff, label="Tests Covid, semaine 48", expires_in="7d")
            for name, size in (("tests-semaine-48.csv", 48_000_000), ("notice.pdf", 212_000)):
                ok(add_file(staff, transfer, key, bytes(size), name), 201)
            share = issue(staff, transfer, key)
            used = send(staff)
            _way_through(browser, way, share, folder)
            _used(browser, used, staff, folder)
            _staff(browser, way.origin, installation.token(name="Laboratoire B"), folder)
            _house(browser, way.origin, installation.token("auditor", name="DPO"), folder)
            _administration(browser, way.origin, installation, folder)


def _reader(browser: Browser, **options: object) -> Reader:
    settings = {"viewport": DESK, "locale": "en-GB", "timezone_id": "Europe/Paris", "device_scale_factor": 1} | options
    return Reader.in_tab_of(browser.new_context(**settings))  # type: ignore[arg-type]


def _way_through(browser: Browser, way: Road, share: Share, folder: Path) -> None:
    """Ready on a desk and on a phone in the dark, then the download on its way, then all of it."""
    phone = _reader(browser, viewport=PHONE, locale="fr-FR", color_scheme="dark")
    phone.open(share)
    phone.page.screenshot(path=folder / "ready-phone-fr.png", full_page=True)
    desk = _reader(browser)
    desk.open(share)
    desk.page.screenshot(path=folder / "ready.png")
    desk.claim(share.password)
    way.pause_seconds = 0.004
    desk.start(0)
    desk.page.wait_for_function("() => document.querySelector('#files progress').value > 0.4")
    desk.page.screenshot(path=folder / "downloading.png")
    way.pause_seconds = 0
    desk.received(0)
    desk.fetch(1)
    desk.received(1)
    desk.page.click("#finish")
    desk.page.screenshot(path=folder / "received.png")
    desk.page.click("#confirm-yes")
    desk.sees("done")
    desk.page.screenshot(path=folder / "done.png")


def _staff(browser: Browser, origin: str, token: str, folder: Path) -> None:
    """The form on a desk, the links, then the list on a phone in the dark."""
    settings = {"viewport": {"width": 900, "height": 1180}, "locale": "en-GB", "timezone_id": "Europe/Paris"}
    context = browser.new_context(**settings, permissions=["clipboard-write"])  # type: ignore[arg-type]
    desk = Depositor.in_tab_of(context)
    desk.sign_in(origin, token, "en")
    with tempfile.TemporaryDirectory() as data:
        paths = [Path(data) / name for name in ("tests-semaine-48.csv", "notice.pdf")]
        for path, size in zip(paths, (3_400_000, 212_000), strict=True):
            path.write_bytes(bytes(size))
        desk.choose(paths)
        desk.address(["Agence régionale de santé", "CPAM 75"], "Tests Covid, semaine 48")
        desk.page.evaluate("document.activeElement.blur()")
        desk.page.screenshot(path=folder / "send.png", full_page=True)
        desk.send()
    desk.page.screenshot(path=folder / "handover.png", full_page=True)
    first, _ = desk.shown()
    desk.hand_over()
    _claimed(browser, first.link, first.password)
    phone = desk.page
    phone.set_viewport_size({"width": 390, "height": 860})
    phone.emulate_media(color_scheme="dark")
    phone.goto(f"{origin}/?lang=fr#sent")
    phone.wait_for_selector("#transfers .item")
    phone.screenshot(path=folder / "sent-phone-fr.png", full_page=True)


def _house(browser: Browser, origin: str, token: str, folder: Path) -> None:
    """The log on a desk, then the retention report on a phone in the dark."""
    desk = _reader(browser, viewport={"width": 1180, "height": 1100})
    desk.page.goto(f"{origin}/house/log?lang=en")
    desk.page.click("a.button")
    desk.page.fill("#token", token)
    desk.page.press("#token", "Enter")
    desk.page.wait_for_url("**/house/log*")
    desk.page.screenshot(path=folder / "house-log.png")
    desk.page.set_viewport_size({"width": 390, "height": 860})
    desk.page.emulate_media(color_scheme="dark")
    desk.page.goto(f"{origin}/house/retention?lang=fr")
    desk.page.screenshot(path=folder / "house-retention-phone-fr.png")


def _administration(browser: Browser, origin: str, installation: Installation, folder: Path) -> None:
    """The list of tokens on a desk, one of which ends soon."""
    for name, lifetime in (("Laboratoire B", "9d"), ("Robot de biologie", "180d"), ("Audit externe", "30d")):
        installation.run("token", "create", f"{name} 2026", "--expires", lifetime)
    desk = _reader(browser, viewport={"width": 1180, "height": 860})
    desk.page.goto(f"{origin}/house/tokens?lang=en")
    desk.page.click("a.button")
    desk.page.fill("#token", installation.token("admin", name="Direction informatique"))
    desk.page.press("#token", "Enter")
    desk.page.wait_for_url("**/house/tokens*")
    desk.page.screenshot(path=folder / "house-tokens.png")


def _claimed(browser: Browser, link: str, password: str) -> None:
    reader = _reader(browser)
    reader.page.goto(link)
    reader.claim(password)
    for number in (0, 1):
        reader.fetch(number)
        reader.received(number)
    reader.finish()


def _used(browser: Browser, share: Share, staff: httpx.Client, folder: Path) -> None:
    body = {"link_secret": share.secret, "password": share.password}
    ok(staff.post(f"/api/v1/shares/{share.id}/claim", json=body), 200)
    reader = _reader(browser)
    reader.open(share, "used")
    reader.page.screenshot(path=folder / "used.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
