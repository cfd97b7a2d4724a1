"""Commands that hand over a secret: it goes to their standard input and nowhere else, and a failure is noticed."""

import json
import os
import sys
import time

import pytest

from app.client.errors import HookFailed, NotConfigured
from app.client.hooks import Hook

DOCUMENT = {"transfer_id": "x", "link": "https://a.example/s/é#sealed.CANARY"}


def test_the_secret_is_one_line_of_json_on_standard_input_and_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setenv("CADUCEE_TOKEN", "cad_CANARY")
    script = (
        f'cat > "{tmp_path}/got $1"; tr "\\0" "\\n" < /proc/$$/cmdline > "{tmp_path}/seen"; env >> "{tmp_path}/seen"'
    )
    Hook.parse("--on-link", f"sh -c '{script}' name 'one word; $HOME'").run(DOCUMENT)
    line = (tmp_path / "got one word; $HOME").read_bytes()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == DOCUMENT
    assert "CANARY" not in (tmp_path / "seen").read_text()


def test_what_a_command_prints_reaches_no_log(capfd):
    Hook.parse("--on-link", "sh -c 'cat; cat >&2; echo CANARY >&2'").run(DOCUMENT)
    assert "CANARY" not in "".join(capfd.readouterr())


def test_a_command_that_reads_nothing_may_succeed():
    Hook.parse("--on-link", "true").run(DOCUMENT | {"much": "x" * 1_000_000})


@pytest.mark.parametrize(("command", "said"), [("false", "exit code 1"), ("sh -c 'kill -9 $$'", "exit code -9")])
def test_a_failure_is_reported_without_the_secret(command, said):
    with pytest.raises(HookFailed, match=said) as failed:
        Hook.parse("--on-link", command).run(DOCUMENT)
    assert "CANARY" not in str(failed.value)


def test_a_command_that_does_not_end_is_ended_with_all_it_started(tmp_path):
    hook = Hook.parse("--on-link", f"sh -c '(sleep 2; touch {tmp_path}/late) & sleep 60'", 0.3)
    started = time.monotonic()
    with pytest.raises(HookFailed, match="did not end"):
        hook.run(DOCUMENT)
    assert time.monotonic() - started < 30
    time.sleep(2.2)
    assert not (tmp_path / "late").exists()


@pytest.mark.parametrize("command", ["", "  ", "'unclosed", "/no/such/program", "no-such-program-anywhere x"])
def test_no_command_is_refused_at_the_start(command):
    with pytest.raises(NotConfigured, match="--on-link"):
        Hook.parse("--on-link", command)


def test_backslashes_separate_folders_on_windows(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr("shutil.which", lambda name: name)
    hook = Hook.parse("--on-link", r'"C:\Program Files\hook.exe" C:\labo\x')
    assert hook.words == (r"C:\Program Files\hook.exe", r"C:\labo\x")
    assert os.name == "posix", "only the splitting is tested here"
