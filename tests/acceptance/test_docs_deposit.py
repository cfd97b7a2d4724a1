"""docs/deposit.md: its lines, its program and its script deposit a file, and end non-zero when they are refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.people import ok
from tests.acceptance.service import Installation
from tests.unit.docs_tables import page, shell_blocks

NAME, RECIPIENT = "résultats d'été.csv", "Hôpital Saint-Louis"
CONTENT = b"id;v\r\n1;A\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    installation = Installation(tmp_path_factory.mktemp("house"))
    with installation.serving() as server:
        yield server, installation.token()


@pytest.fixture
def run(service, tmp_path):
    """Run a command where the export lies, with the variables that the page sets."""
    server, token = service
    (tmp_path / NAME).write_bytes(CONTENT)
    (tmp_path / "header").write_text(f"Authorization: Bearer {token}\n")

    def run(command, **instead):
        variables = {"PATH": os.environ["PATH"], "AT": server.origin, "TOKEN": token, "TOKEN_HEADER": "header"}
        return subprocess.run(
            command, cwd=tmp_path, env=variables | instead, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def deposited(service):
    server, token = service
    with server.http(token) as http:
        return ok(http.get("/api/v1/transfers"), 200)["transfers"]


def script(tmp_path: Path) -> str:
    block = next(block for block in shell_blocks("docs/deposit.md") if block.startswith("#!/bin/sh"))
    (tmp_path / "nightly-deposit").write_text(block)
    return str(tmp_path / "nightly-deposit")


def python_program(tmp_path: Path) -> str:
    (found,) = re.findall(r"^```python\n(.*?)^```$", page("docs/deposit.md"), re.MULTILINE | re.DOTALL)
    (tmp_path / "deposit.py").write_text(found)
    return str(tmp_path / "deposit.py")


def curl_lines() -> list[str]:
    return [block for block in shell_blocks("docs/deposit.md") if block.startswith("curl ")]


@pytest.mark.parametrize("line", curl_lines(), ids=["encoded by curl", "encoded by hand"])
def test_docs_deposit_curl_lines_send_name_and_recipient_as_they_are(run, service, line):
    done = run(["sh", "-c", line])
    assert done.returncode == 0, done.stdout + done.stderr
    assert NAME in done.stdout
    assert deposited(service)[0]["shares"][0]["recipient"] == RECIPIENT
    assert deposited(service)[0]["size"] == len(CONTENT)
    refused = run(["sh", "-c", line], TOKEN="cad_wrong")
    assert (refused.returncode, "not_authenticated" in refused.stdout) == (22, True)


def test_docs_deposit_python_program_deposits(run, service, tmp_path):
    program = python_program(tmp_path)
    done = run([sys.executable, program, NAME, RECIPIENT])
    assert done.returncode == 0, done.stderr
    assert f"File: {NAME}\n" in done.stdout
    assert deposited(service)[0]["shares"][0]["recipient"] == RECIPIENT
    (tmp_path / NAME).write_bytes(b"")
    refused = run([sys.executable, program, NAME, RECIPIENT])
    assert refused.returncode == 1
    assert "Code: empty_body" in refused.stderr


def test_docs_deposit_nightly_script_deposits_once_and_keeps_the_response_private(run, service, tmp_path):
    nightly, before = script(tmp_path), len(deposited(service))
    for _ in range(2):
        done = run(["sh", nightly, NAME, RECIPIENT])
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert len(deposited(service)) == before + 1
    answer = tmp_path / f"{NAME}.answer.txt"
    assert answer.stat().st_mode & 0o777 == 0o600
    assert f"File: {NAME}\n" in answer.read_text()
    assert not (tmp_path / f"{NAME}.key").exists()


def test_docs_deposit_nightly_script_says_why_and_goes_on_where_it_was(run, service, tmp_path):
    """Refused, then out of reach, then mended: the export stays, its key too, and it is deposited once."""
    nightly, before = script(tmp_path), len(deposited(service))
    (tmp_path / NAME).write_bytes(b"")
    refused = run(["sh", nightly, NAME, RECIPIENT])
    assert refused.returncode == 22
    assert refused.stdout == ""
    assert "Code: empty_body" in refused.stderr
    key = (tmp_path / f"{NAME}.key").read_text()
    (tmp_path / NAME).write_bytes(CONTENT)
    assert run(["sh", nightly, NAME, RECIPIENT], AT="http://127.0.0.1:9").returncode not in {0, 22}
    assert (tmp_path / f"{NAME}.key").read_text() == key
    assert run(["sh", nightly, NAME, RECIPIENT]).returncode == 0
    assert len(deposited(service)) == before + 1
    assert not list(tmp_path.glob("*.new"))
