"""Firefox, driven by Marionette, the protocol that it speaks itself: frames `length:[type, id, command, arguments]`.

Playwright drives only builds of its own; the recipients' Firefox is the distribution's.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE_SECONDS = 30
PREFERENCES = {
    "browser.download.folderList": 2,
    "browser.download.useDownloadDir": True,
    "browser.download.alwaysOpenPanel": False,
    "app.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}


class Firefox:
    """A browser window. `downloads` is where it saves files."""

    def __init__(self, port: int, downloads: Path) -> None:
        """Connect, and begin a session."""
        self.downloads = downloads
        self._connection = _connected(port)
        self._received, self._sent = b"", 0
        self._receive()
        self.ask("WebDriver:NewSession", capabilities={})

    def ask(self, command: str, **arguments: object) -> Any:
        """Send a command and return its value."""
        self._sent += 1
        frame = json.dumps([0, self._sent, command, arguments]).encode()
        self._connection.sendall(f"{len(frame)}:".encode() + frame)
        _, _, error, answer = self._receive()
        assert not error, f"{command}: {error}"
        return answer.get("value") if isinstance(answer, dict) and "value" in answer else answer

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def open(self, address: str) -> None:
        """Navigate."""
        self.ask("WebDriver:Navigate", url=address)

    def run(self, script: str, *arguments: object) -> Any:
        """Return the value of an expression in the page."""
        return self.ask("WebDriver:ExecuteScript", script=f"return {script}", args=list(arguments))

    def wait(self, script: str, *arguments: object) -> None:
        """Wait until an expression in the page is true."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.run(script, *arguments):
            assert time.monotonic() < end, f"{script}, in view {self.run(SHOWN)}"
            time.sleep(0.1)

    def sees(self, view: str) -> None:
        """Wait for a state of the page."""
        self.wait(f"{SHOWN} === arguments[0]", view)

    def type(self, selector: str, text: str) -> None:
        """Type into an element."""
        self.ask("WebDriver:ElementSendKeys", id=self._element(selector), text=text)

    def click(self, selector: str) -> None:
        """Click on an element."""
        self.ask("WebDriver:ElementClick", id=self._element(selector))

    def _element(self, selector: str) -> str:
        found = self.ask("WebDriver:FindElement", using="css selector", value=selector)
        return str(next(iter(found.values())))

    def _receive(self) -> Any:
        while b":" not in self._received:
            self._received += self._connection.recv(65_536)
        length, _, rest = self._received.partition(b":")
        while len(rest) < int(length):
            rest += self._connection.recv(65_536)
        self._received = rest[int(length) :]
        return json.loads(rest[: int(length)])


SHOWN = "document.querySelector('[data-view]:not([hidden])')?.dataset.view"


@contextmanager
def firefox(folder: Path, languages: str) -> Iterator[Firefox]:
    """Start Firefox with a profile of its own in `folder`."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("firefox-esr is missing")
    profile, downloads, port = folder / "profile", folder / "downloads", _free_port()
    profile.mkdir()
    downloads.mkdir()
    own = {"browser.download.dir": str(downloads), "intl.accept_languages": languages, "marionette.port": port}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in (PREFERENCES | own).items()]
    (profile / "user.js").write_text("\n".join(lines))
    command = [program, "--headless", "--marionette", "--no-remote", "--profile", str(profile), "about:blank"]
    environment = os.environ | {"HOME": str(folder), "TZ": "Europe/Paris"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            with closing(Firefox(port, downloads)) as browser:
                yield browser
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _connected(port: int) -> socket.socket:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        except OSError:
            assert time.monotonic() < end, "Firefox does not answer"
            time.sleep(0.2)
