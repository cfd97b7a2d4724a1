"""Real Chromium, Debian's package, driven by Playwright, which brings no browser of its own here."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NODE = Path(__file__).parent


def program() -> str:
    """Where Chromium is; installed first where this may be done. Skips loudly, or fails under CADUCEE_REQUIRE_ALL=1."""
    found = shutil.which("chromium")
    if found is None and os.geteuid() == 0 and Path("/etc/debian_version").exists():
        _run("apt-get", "update")
        _run("apt-get", "install", "-y", "--no-install-recommends", "chromium")
        found = shutil.which("chromium")
    if found is None:
        lacking("NO CHROMIUM HERE, the recipient's page was not tested: apt-get install chromium")
    return str(found)


def axe_source() -> str:
    """The text of axe-core, pinned in package-lock.json beside this file and fetched by npm."""
    script = NODE / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists() and shutil.which("npm"):
        _run("npm", "ci", "--silent", "--prefix", str(NODE))
    if not script.exists():
        lacking("NO AXE-CORE HERE, accessibility was not tested: npm is needed")
    return script.read_text("utf-8")


def lacking(what: str) -> None:
    """Skip, or fail where everything is required."""
    if os.environ.get("CADUCEE_REQUIRE_ALL") == "1":
        pytest.fail(what)
    pytest.skip(what)


@contextmanager
def chromium(executable: str) -> Iterator[Browser]:
    """A browser with a fresh profile, gone afterwards."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def close(context: BrowserContext) -> None:
    """Close a profile and its tabs. A request that a test holds or answers may still be on its way; without this, its
    failure would be raised in the next test.
    """
    for page in context.pages:
        page.unroute_all(behavior="ignoreErrors")
    context.close()


def _run(*command: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, check=False, env=environment, capture_output=True, timeout=300)
