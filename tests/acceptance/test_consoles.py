"""Lesson 49: output on the consoles that people have: narrow terminals, pipes that close, other encodings."""

import json
import os
import pty
import re
import struct
import subprocess
import termios
from fcntl import ioctl

import pytest

from tests.acceptance.people import send
from tests.acceptance.service import Installation
from tests.acceptance.warm_start import PROGRAM
from tests.marks import first, in_test_all

NAME = "Hôpital Saint-Éloi, laboratoire d’anatomie — œuvre"
BOXES = re.compile("[─-╿]|\x1b")
ID = re.compile(r"[A-Za-z0-9_-]{22}")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """An installation with long names, in a folder of its own."""
    installation = Installation(tmp_path_factory.mktemp("consoles"))
    with installation.serving() as server, server.http(installation.token(name=NAME)) as http:
        for number in range(3):
            send(http, recipient=f"{NAME} {number}", label=NAME)
    installation.alter("UPDATE service_state SET last_sweep_at = last_sweep_at - ?", 60_000_000)
    return installation


def on_terminal(house, width, *arguments, **more):
    """What a terminal of this width receives, and the exit code."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = house.environment() | {"TERM": "xterm-256color"} | more
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [PROGRAM, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=house.folder
    )
    os.close(theirs)
    received = b""
    while True:
        try:
            received += os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    return received.decode().replace("\r\n", "\n"), process.wait(30)


@pytest.mark.parametrize("width", first(1, [80, 30, 120]))
@pytest.mark.parametrize(
    "command", ["transfer list", "token list", *map(in_test_all, ["audit log", "config show", "--help"])]
)
def test_a_terminal_of_any_width_gets_whole_ids_and_no_frames(house, command, width):
    text, code = on_terminal(house, width, *command.split())
    assert code == 0
    assert not BOXES.search(text)
    if command in {"transfer list", "token list"}:
        known = {row[0] for row in house.rows(f"SELECT id FROM {command.split()[0].replace('token', 'access_token')}s")}
        assert {line[:22] for line in text.splitlines() if ID.match(line)} == known
        long = [line for line in text.splitlines() if len(line) > max(width, 22 + 16 + 16)]
        assert [line for line in long if "too narrow for" not in line] == []
        assert "too narrow for" in text, "the command says how to see the other columns"


@pytest.mark.parametrize("more", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_none_is_wanted(house, more):
    text, code = on_terminal(house, 80, "audit", "verify", **more)
    assert code == 0
    assert not re.search("\x1b\\[[0-9;]*m", text)


@pytest.mark.parametrize(
    "encoding", [{"PYTHONIOENCODING": "ascii"}, *map(in_test_all, [{"PYTHONIOENCODING": "latin-1"}, {"LANG": "C"}])]
)
@pytest.mark.parametrize(
    "command", ["token list", "token list --json", "transfer list --json", "audit export", in_test_all("--help")]
)
def test_no_encoding_makes_a_command_fail(house, command, encoding):
    done = subprocess.run(
        [PROGRAM, *command.split()],
        env=house.environment() | encoding,
        cwd=house.folder,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if "--json" in command:
        document = json.loads(done.stdout.decode(encoding.get("PYTHONIOENCODING", "utf-8")))
        assert NAME in json.dumps(document, ensure_ascii=False)


@pytest.mark.parametrize(
    ("command", "code"),
    first(
        5,
        [
            ("--help", 0),
            ("transfer list --json", 0),
            ("audit log", 0),
            ("doctor", 1),
            ("audit export", 2),
            ("--version", 0),
            ("transfer list --help", 0),
            ("token list", 0),
            ("audit log --json", 0),
            ("config show", 0),
            ("audit retention", 2),
        ],
    ),
)
def test_a_reader_that_stops_changes_no_verdict_and_sees_no_traceback(house, command, code):
    """Retention is not provable and the sweeper is WRONG here, whoever reads; a part of an export is no export."""
    read, write = os.pipe()
    os.close(read)
    environment = house.environment(DEADMAN="5s")
    done = subprocess.run(
        [PROGRAM, *command.split()],
        env=environment,
        cwd=house.folder,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
