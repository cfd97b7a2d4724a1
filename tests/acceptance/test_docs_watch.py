"""docs/watch.md: its two commands hand over what they are given, and its tables are those of the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.client.collecting import UNFINISHED
from app.client.watch_report import Report
from tests.acceptance.service import accepts, free_port, until
from tests.unit.docs_tables import ROOT, page, rows

GIVEN = {"transfer_id": "T" * 22, "share_id": "S" * 22, "recipient": "Hôpital", "expires_at": "2026-03-02T08:15:00Z"}


def program(name: str, folder: Path) -> str:
    """The program of the page whose docstring begins with this name, as a file."""
    blocks = re.findall(r"^```python\n(.*?)^```$", page("docs/watch.md"), re.MULTILINE | re.DOTALL)
    (text,) = (block for block in blocks if f'"""{name} ' in block)
    (folder / name).write_text(text, "utf-8")
    return str(folder / name)


def hand_over(command: list[str], document: dict[str, str]) -> None:
    line = json.dumps(GIVEN | document, ensure_ascii=False) + "\n"
    done = subprocess.run([sys.executable, *command], input=line.encode(), capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_link_is_mailed(tmp_path):
    port, link = free_port(), "https://files.example.org/s/x#sealed.y"
    sink = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/mail_sink.py"), "127.0.0.1", str(port), tmp_path / "mail"]
    )
    try:
        until(lambda: accepts("127.0.0.1", port), what="the mail server")
        mail_link = program("mail-link", tmp_path)
        hand_over([mail_link, f"127.0.0.1:{port}", "lab@example.org", "insurer@example.org"], {"link": link})
        mail = until((tmp_path / "mail").read_text, what="the mail")
    finally:
        sink.kill()
        sink.wait()
    assert "To: insurer@example.org" in mail
    assert link in mail


def test_the_password_is_kept_for_one_person(tmp_path):
    keep_password, folder = program("keep-password", tmp_path), tmp_path / "kept"
    for password in ("0000-0000-0000-0000", "1111-1111-1111-1111"):
        hand_over([keep_password, str(folder)], {"password": password})
    (kept,) = folder.iterdir()
    assert "1111-1111-1111-1111" in kept.read_text("utf-8"), "that of the share that is valid"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_the_tables_are_those_of_the_code():
    code = "".join(path.read_text("utf-8") for path in (ROOT / "app/client").glob("*.py"))
    used = set(re.findall(r'NotSendable\((?:f?"[^"]*"|message), "(\w+)"\)', code))
    used |= set(re.findall(r'_FILE_REFUSED = frozenset\(\{"(\w+)", "(\w+)"\}\)', code)[0])
    assert {
        word for row in rows("docs/watch.md", "code") for word in re.findall(r"[a-z]\w+_\w+|unreadable", row[0])
    } == used
    assert [row[0] for row in rows("docs/watch.md", "exit code")] == ["0", "1", "2", "75"]
    text = page("docs/watch.md")
    assert all(f"`{ending}`" in text for ending in UNFINISHED)
    (shown,) = re.findall(r'^(\{"to".*?\})\n```', text, re.MULTILINE | re.DOTALL)
    assert set(json.loads(shown)) == set(Report(Path(), "A").document)


@pytest.mark.parametrize("name", ["not_regular", "hook_failed", "no_access"])
def test_a_code_is_explained(name):
    assert f"`{name}`" in page("docs/watch.md")
