"""`caducee-notify`: what a timer reports arrives, or the command fails."""

import os
import subprocess
import sys
from email import message_from_string
from email.policy import default
from pathlib import Path

import pytest

from tests.acceptance.service import accepts, free_port, until

ROOT = Path(__file__).parents[2]


def notify(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NOTIFY_")}
    return subprocess.run(
        [sys.executable, "-I", ROOT / "deploy/notify.py", *arguments],
        env=inherited | settings,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def sink(request, tmp_path):
    """A mail server, on 127.0.0.1 or the address given as parameter: its settings, and the file with what it took."""
    host, port, taken = getattr(request, "param", "127.0.0.1"), free_port(), tmp_path / "mails"
    server = subprocess.Popen([sys.executable, ROOT / "tests/mail_sink.py", host, str(port), taken])
    until(lambda: accepts(host, port), what="the mail server")
    try:
        yield {"NOTIFY_SERVER": f"{host}:{port}", "NOTIFY_FROM": "a@x.org", "NOTIFY_TO": "b@x.org, c@x.org"}, taken
    finally:
        server.terminate()
        server.wait()


def test_a_failed_check_is_mailed_without_what_it_found(sink):
    settings, taken = sink
    done = notify("caducee-retention failed", **settings)
    assert (done.returncode, done.stderr) == (0, "<1>caducee-retention failed\n")
    received = message_from_string(taken.read_text(), policy=default)
    assert received["To"] == "b@x.org, c@x.org"
    assert "caducee-retention failed" in received["Subject"]
    assert "journalctl -u caducee-retention\n" in received.get_content()


def test_a_file_arrives_byte_for_byte(sink, tmp_path):
    """A checkpoint whose lines were changed on the way does not verify."""
    settings, taken = sink
    note = tmp_path / "checkpoint.txt"
    note.write_bytes("caducee.log\n1\n\n\u2014 caducee.log AAAA\n.\nFrom here\n".encode())
    assert notify("checkpoint to be kept", str(note), **settings).returncode == 0
    (attached,) = message_from_string(taken.read_text(), policy=default).iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("checkpoint.txt", note.read_bytes())


@pytest.mark.parametrize("missing", ["NOTIFY_SERVER", "NOTIFY_FROM", "NOTIFY_TO"])
def test_without_an_address_nothing_is_reported_as_sent(missing):
    given = {"NOTIFY_SERVER": "127.0.0.1:1", "NOTIFY_FROM": "a@x.org", "NOTIFY_TO": "b@x.org", missing: " "}
    done = notify("test failed", **given)
    assert done.returncode == 1
    assert f"{missing} is not set" in done.stderr.splitlines()[-1]


def test_a_server_that_does_not_answer_is_an_error():
    given = {"NOTIFY_SERVER": f"127.0.0.1:{free_port()}", "NOTIFY_FROM": "a@x.org", "NOTIFY_TO": "b@x.org"}
    done = notify("test failed", **given)
    assert done.returncode == 1
    assert "NOT SENT, nobody was informed" in done.stderr


@pytest.mark.parametrize("sink", ["127.0.0.2"], indirect=True)
def test_a_server_elsewhere_without_tls_is_given_nothing(sink):
    """Only the names of this machine's own loopback need none."""
    settings, taken = sink
    done = notify("test failed", **settings)
    assert done.returncode == 1
    assert "STARTTLS" in done.stderr
    assert not taken.exists()
