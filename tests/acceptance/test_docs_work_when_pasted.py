"""The README's lines, pasted into a shell, and the demo do what they say."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.acceptance.service import Installation
from tests.unit.docs_tables import ROOT, shell_blocks


def pasted(origin: str, token: str) -> str:
    """The blocks of the life of a file, as one script, against another origin and with a real token."""
    start, given, *steps = shell_blocks("README.md")
    assert "make run" in start
    assert given == "TOKEN=cad_...\n"
    assert len(steps) == 7
    script = "\n".join([f"TOKEN={token}", *steps]).replace("http://127.0.0.1:8000", origin)
    assert "sleep 2" in script
    return script.replace(
        "sleep 2", "sleep 6"
    )  # a machine that runs other tests meanwhile may stand still for a second


@pytest.mark.parametrize("shell", ["sh", pytest.param("bash", marks=pytest.mark.external)])
def test_docs_readme_lines_take_a_file_from_deposit_to_deletion(tmp_path, shell: str):
    installation = Installation(tmp_path)
    with installation.serving() as server:
        script = pasted(server.origin, installation.token())
        environment = os.environ | {"XDG_STATE_HOME": str(tmp_path)}
        done = subprocess.run(
            [shell, "-e"],
            input=script,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    promised = [
        '"link":"http',
        '"claim_token":"',
        "the same bytes",
        '"code":"share_used"',
        "204 No Content",
        '"verified"',
        "completed",
    ]
    told = [done.stdout.find(text) for text in promised]
    assert -1 not in told, done.stdout + done.stderr
    assert told == sorted(told)


@pytest.mark.slow
@pytest.mark.external
def test_docs_demo_ends_verified():
    done = subprocess.run(
        [sys.executable, ROOT / "deploy/demo.py"], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "verified"
