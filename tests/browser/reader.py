"""Somebody who reads the recipient's page: what they see, type and click, and what lands on their disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from playwright.sync_api import BrowserContext, ConsoleMessage, Download, Locator, Page, Route

from tests.acceptance.people import Share

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PATIENCE_MS = 15_000


@dataclass
class Reader:
    """A tab. `faults` are the script's errors and what the browser refused to do for the page's own policy."""

    page: Page
    axe: str = ""
    faults: list[str] = field(default_factory=list)

    @classmethod
    def in_tab_of(cls, context: BrowserContext, axe: str = "") -> Self:
        """Open a tab and listen."""
        reader = cls(context.new_page(), axe)
        reader.page.set_default_timeout(PATIENCE_MS)
        reader.page.on("pageerror", lambda error: reader.faults.append(str(error)))
        reader.page.on("console", reader._heard)
        return reader

    def _heard(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "TrustedScript" in message.text:
            self.faults.append(message.text)

    def open(self, share: Share, view: str = "ready") -> None:
        """Follow a link."""
        self.page.goto(share.link)
        self.sees(view)

    def sees(self, view: str) -> Locator:
        """Wait for a state of the page; no other may be shown beside it."""
        shown = self.page.locator("[data-view]:not([hidden])")
        self.page.wait_for_selector(f'[data-view="{view}"]:not([hidden])')
        assert shown.count() == 1
        return shown

    def claim(self, password: str, view: str = "files") -> None:
        """Type the password and press Enter."""
        self.page.fill("#password", password)
        self.page.press("#password", "Enter")
        self.sees(view)

    def fetch(self, number: int = 0) -> bytes:
        """Download a file, and read it from the disk."""
        return content(self.start(number))

    def start(self, number: int = 0) -> Download:
        """Start a download."""
        with self.page.expect_download(timeout=PATIENCE_MS) as download:
            self.page.click(f"#fetch-{number}")
        return download.value

    def received(self, number: int = 0) -> None:
        """Wait until the page says that a file has arrived."""
        self.page.wait_for_selector(f"#files .file:nth-of-type({number + 1}) .file-received:not([hidden])")

    def finish(self) -> None:
        """Say that everything has arrived."""
        self.page.click("#finish")
        self.page.click("#confirm-yes")
        self.sees("done")

    def kept(self) -> Any:
        """What the browser keeps for this site, as text: IndexedDB, storages, cookies that scripts see, history."""
        return self.page.evaluate(KEPT)

    def barriers(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 AA."""
        if not self.page.evaluate("typeof axe === 'object'"):
            self.page.evaluate(self.axe)
        found = self.page.evaluate("rules => axe.run({runOnly: rules})", RULES)
        return [f"{it['id']}: {node['html'][:200]}" for it in found["violations"] for node in it["nodes"]]


def content(download: Download) -> bytes:
    """What a download has put on the disk."""
    return Path(download.path()).read_bytes()


KEPT = """async () => {
  const opening = indexedDB.open("caducee");
  const database = await new Promise((resolve) => (opening.onsuccess = () => resolve(opening.result)));
  const records = database.objectStoreNames.contains("claims")
    ? await new Promise((resolve) => {
        const asking = database.transaction("claims").objectStore("claims").getAll();
        asking.onsuccess = () => resolve(asking.result);
      })
    : [];
  database.close();
  return {
    records: records.map((record) => JSON.stringify(record)),
    keys: records.map((record) => record.claim?.key && [record.claim.key.type, record.claim.key.extractable]),
    other: JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, history.state]),
    caches: await caches.keys(),
  };
}"""


def refusing(code: str, status: int = 503) -> Callable[[Route], None]:
    """A service that refuses so."""
    body = json.dumps({"code": code, "status": status})
    return lambda route: route.fulfill(status=status, content_type="application/problem+json", body=body)
