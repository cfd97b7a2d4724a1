"""Somebody who sends files by the staff's page: what they choose, type and click, and what the page then shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.service import Installation
from tests.browser.reader import Reader


@dataclass(frozen=True)
class Shown:
    """A recipient's link and password, as the page shows them once, and the message to mail."""

    recipient: str
    mail: str
    password: str

    @property
    def link(self) -> str:
        """The link in the message."""
        return next(line for line in self.mail.splitlines() if line.startswith("http"))


class Depositor(Reader):
    """A tab of the staff's page. `token` is the access token that signed in."""

    token = ""

    def sign_in(self, origin: str, token: str, language: str) -> None:
        """Sign in by token."""
        self.page.goto(f"{origin}/sign-in?lang={language}")
        self.page.fill("#token", token)
        self.page.press("#token", "Enter")
        self.sees("form")

    def sign_in_at_provider(self, origin: str, language: str) -> None:
        """Sign in at the identity provider, which asks for nothing."""
        self.page.goto(f"{origin}/sign-in?lang={language}")
        self.page.click(".button")
        self.sees("form")

    def choose(self, paths: Iterable[Path]) -> None:
        """Pick files."""
        self.page.set_input_files("#pick-files", [str(path) for path in paths])

    def drop(self, paths: Iterable[Path]) -> None:
        """Drop files and folders, as a file manager does."""
        page = self.page
        box = page.locator("#drop").bounding_box()
        assert box is not None
        at = {"x": box["x"] + 10, "y": box["y"] + 10}
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        devtools = page.context.new_cdp_session(page)
        for step in ("dragEnter", "dragOver", "drop"):
            devtools.send("Input.dispatchDragEvent", {"type": step, "data": data, **at})
        devtools.detach()

    def address(self, recipients: Iterable[str], subject: str = "") -> None:
        """Fill in the form."""
        self.page.fill("#recipients", "\n".join(recipients))
        self.page.fill("#subject", subject)

    def send(self, view: str = "handover") -> None:
        """Click on send, and wait."""
        self.page.click("#deposit button[type=submit]")
        self.sees(view)

    def shown(self) -> list[Shown]:
        """Read the links off the screen."""
        cards = self.page.locator("#shares .item")
        return [
            Shown(
                card.locator("h2").inner_text(),
                card.locator("textarea").input_value(),
                card.locator(".password").inner_text(),
            )
            for card in cards.all()
        ]

    def hand_over(self) -> None:
        """Copy everything, and go on."""
        for button in self.page.locator("#shares .copy-link, #shares .copy-password").all():
            button.click()
            button.and_(self.page.locator("[data-copied]")).wait_for()
        self.page.click("#done")
        self.sees("form")

    def list(self) -> None:
        """Open the list of what was sent, anew, and wait until it was read."""
        self.page.evaluate("location.hash = '#send'; document.getElementById('transfers').ariaBusy = null")
        self.page.click("#nav-sent")
        self.sees("sent")
        self.page.wait_for_selector("#transfers[aria-busy=false] .item")

    def kept_here(self) -> Any:
        """Everything that the page keeps in IndexedDB, as text; bytes in Latin-1."""
        return self.page.evaluate(KEPT)


def laid(folder: Path, **files: bytes) -> list[Path]:
    """Write files of these names, in which `__` is a dot."""
    folder = folder / "files"
    folder.mkdir(exist_ok=True)
    paths = [folder / name.replace("__", ".") for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(content)
    return paths


def fetched(installation: Installation, shown: Shown, folder: Path) -> dict[str, bytes]:
    """What `caducee get` brings."""
    (folder / "password").write_text(shown.password)
    target = folder / "got"
    arguments = ["get", shown.link, "-o", str(target), "--trust", "--password-file", str(folder / "password")]
    installation.run(*arguments)
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


KEPT = """async () => {
  const opening = indexedDB.open("caducee-staff");
  const database = await new Promise((resolve) => (opening.onsuccess = () => resolve(opening.result)));
  const all = (store) => new Promise((resolve) => {
    const asking = database.transaction(store).objectStore(store).getAll();
    asking.onsuccess = () => resolve(asking.result);
  });
  const keys = await all("keys");
  const [transfers, digests] = [await all("transfers"), await all("digests")];
  database.close();
  const text = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return {
    keys: keys.map(({ extractable, usages }) => [extractable, usages]),
    transfers: transfers.map((each) => each.id + text(each.sealed)),
    digests: digests.map(text),
    other: JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, history.state]),
  };
}"""
