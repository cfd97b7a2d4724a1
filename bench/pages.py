"""The pages in Chromium: an upload by the staff's page, in turns with the same page encrypting without sending; and how
soon each page can be used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext

from bench.servers import Service
from bench.wire import Connection
from tests.browser.chromium import chromium, program
from tests.browser.depositor import Depositor

MIB = 1 << 20
PATIENCE_MS = 600_000
PART_SLICES = 16
"""Of the largest part that the page sends."""

FIRST_USABLE = """addEventListener("focusin", ({ target }) => {
  if (target.closest("[data-view=form], [data-view=ready]")) globalThis.usable ??= performance.now();
});"""
"""Each page focuses what it shows once that can be used."""

ENCRYPT = """async (slices) => {
  const { toBase64url } = await import("/staff/assets/encoding.js");
  const { newSalt } = await import("/staff/assets/sealing.js");
  const { Source } = await import("/staff/assets/source.js");
  const { newTransferKey } = await import("/staff/assets/wrapping.js");
  const file = document.querySelector("body > input").files[0];
  const kept = { name: file.name, path: "", salt: toBase64url(newSalt()) };
  const keeper = { digests: async () => [], keepDigests: async () => {} };
  const made = { transferKey: await newTransferKey(), transferId: "bench", number: 0, kept, file, keeper };
  const source = await Source.of(made);
  const started = performance.now();
  for (let at = 0; at < source.sealedSize; at = (await source.part(at, slices)).end);
  return (performance.now() - started) / 1000;
}"""
"""What the page does to a file before it sends it: read, hash, checksum, encrypt. Nothing is stored or sent."""

SEND = """async () => {
  const shown = document.querySelector("[data-view=handover]");
  const sent = new Promise((resolve) => {
    new MutationObserver(() => shown.hidden || resolve()).observe(shown, { attributes: true });
  });
  const started = performance.now();
  document.getElementById("deposit").requestSubmit();
  await sent;
  return (performance.now() - started) / 1000;
}"""
"""From the click until the links are shown."""


@dataclass(frozen=True, slots=True)
class Starts:
    """Milliseconds from navigation until a page can be used, one per round: without a cache, and with one."""

    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)


def uploads(service: Service, folder: Path, *, size: int, count: int) -> tuple[list[float], list[float]]:
    """Return seconds per file of `size` bytes, one per round: of an upload, and of encrypting the file."""
    folder.mkdir()
    path = folder / "file.bin"
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    sent, encrypted = list[float](), list[float]()
    with chromium(program()) as browser:
        for _ in range(count):
            with _depositor(browser, service) as person:
                page = person.page
                page.set_default_timeout(PATIENCE_MS)
                page.evaluate("document.body.append(Object.assign(document.createElement('input'), {type: 'file'}))")
                page.set_input_files("body > input", path)
                encrypted.append(page.evaluate(ENCRYPT, PART_SLICES))
                person.choose([path])
                person.address(["bench"])
                sent.append(page.evaluate(SEND))
            _delete_newest(service)
    return sent, encrypted


def starts(service: Service, folder: Path, *, count: int) -> tuple[Starts, Starts]:
    """Return when the staff's page can be used, and the recipient's."""
    folder.mkdir()
    (folder / "small.txt").write_bytes(b"bench")
    staffs, recipients = Starts(), Starts()
    with chromium(program()) as browser:
        with _depositor(browser, service) as person:
            person.choose([folder / "small.txt"])
            person.address(["bench"])
            person.send()
            link, signed_in = person.shown()[0].link, person.page.context.storage_state()
        for _ in range(count):
            _start(browser.new_context(storage_state=signed_in), _origin(service), staffs)
            _start(browser.new_context(), link, recipients)
    _delete_newest(service)
    return staffs, recipients


def _start(context: BrowserContext, address: str, times: Starts) -> None:
    page = context.new_page()
    page.add_init_script(FIRST_USABLE)
    for found in (times.cold, times.warm):
        page.goto("about:blank")
        page.goto(address)
        found.append(page.wait_for_function("() => globalThis.usable").json_value())
    context.close()


@contextmanager
def _depositor(browser: Browser, service: Service) -> Iterator[Depositor]:
    """Yield somebody who is signed in, in a browser profile of their own."""
    context = browser.new_context(locale="en-GB")
    person = Depositor.in_tab_of(context)
    person.sign_in(_origin(service), service.token, "en")
    yield person
    context.close()


def _origin(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


def _delete_newest(service: Service) -> None:
    connection = Connection(service.port, {"Authorization": f"Bearer {service.token}"})
    (newest,) = connection.ask("GET", "/api/v1/transfers?limit=1").json()["transfers"]
    assert connection.ask("DELETE", f"/api/v1/transfers/{newest['id']}").status == 204
    connection.close()
