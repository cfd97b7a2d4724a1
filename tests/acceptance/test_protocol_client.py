"""docs/protocol.md: a client written from that page alone sends and fetches, in both directions, whatever breaks."""

from __future__ import annotations

import ast
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.cutting_proxy import Cut, CuttingProxy
from tests.acceptance.people import ok
from tests.unit.docs_tables import ROOT, page

PROGRAM = ROOT / "examples" / "protocol_client.py"
SIZES = (0, 1, 16_383, 16_384, 16_385, 3_000_001)
"""Around the boundaries of chunks."""


@pytest.fixture
def foreign(house, tmp_path):
    """The program, as somebody runs it who uses the shared service."""
    names = {"CADUCEE_SERVER": house.server.origin, "CADUCEE_TOKEN": house.tokens["staff"], "PATH": os.environ["PATH"]}

    def run(*arguments, code=0):
        command = [sys.executable, "-I", PROGRAM, *arguments]
        done = subprocess.run(
            [*map(str, command), "--state", str(tmp_path / "foreign")],
            env=names,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout) if code == 0 else done.stderr

    return run


@pytest.fixture
def caducee(house, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    connected = {"SERVER": house.server.origin, "TOKEN": house.tokens["staff"]}
    return lambda *arguments: house.installation.run(*map(str, arguments), **connected)


@pytest.fixture
def proxy(house):
    proxy = CuttingProxy(("127.0.0.1", house.server.port))
    yield proxy
    proxy.close()


def some_files(folder: Path, *sizes: int) -> list[Path]:
    folder.mkdir()
    for size in sizes:
        (folder / f"é{size}.bin").write_bytes(random.Random(size).randbytes(size))
    return sorted(folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def received(foreign, share, tmp_path, *options, code=0):
    (tmp_path / "password").write_text(share["password"])
    arguments = ["get", share["link"], "--password-file", tmp_path / "password", "-o", tmp_path / "received"]
    return foreign(*arguments, *options, code=code)


def test_docs_protocol_client_uses_nothing_of_the_service():
    tree = ast.walk(ast.parse(page("examples/protocol_client.py")))
    names = {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}
    tree = ast.walk(ast.parse(page("examples/protocol_client.py")))
    names |= {node.module or "." for node in tree if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"cryptography"}


def test_docs_protocol_client_sends_and_caducee_fetches(foreign, caducee, tmp_path):
    """Sealed by the one, opened by the other; a file in the clear, too."""
    files, target = some_files(tmp_path / "export", *SIZES), tmp_path / "fetched"
    for share in (foreign("send", *files, "--to", "CPAM 75"), foreign("deposit", files[-1], "--to", "CPAM 75")):
        (tmp_path / "password").write_text(share["password"])
        caducee("get", share["link"], "-o", target, "--password-file", tmp_path / "password", "--trust")
    sent = contents(tmp_path / "export")
    assert contents(target) == sent | {f"{files[-1].stem} (2).bin": files[-1].read_bytes()}
    assert list((tmp_path / "foreign").iterdir()) == [], "nothing is kept of a send that is done"


def test_docs_protocol_client_fetches_what_caducee_sent(foreign, caducee, staff, tmp_path):
    """A folder, with another in it."""
    some_files(tmp_path / "export", *SIZES)
    some_files(tmp_path / "export" / "été", 3)
    answer = caducee("send", tmp_path / "export", "--to", "CPAM 75", "--allow-empty", "--json").json
    received(foreign, answer["shares"][0], tmp_path)
    assert contents(tmp_path / "received" / "export") == contents(tmp_path / "export")
    shown = ok(staff.get(f"/api/v1/transfers/{answer['transfer_id']}"), 200)
    assert shown["shares"][0]["state"] == "completed"
    assert "share_used" in received(foreign, answer["shares"][0], tmp_path, code=1)


def test_docs_protocol_client_goes_on_after_cuts_and_restarts(foreign, proxy, staff, tmp_path):
    """One transfer and one claim, each file sent and fetched once."""
    (path,) = some_files(tmp_path / "export", 6_000_000)
    before = len(ok(staff.get("/api/v1/transfers"), 200)["transfers"])
    through = ("--connect-to", f"127.0.0.1:{proxy.port}")
    send = ("send", path, "--to", "CPAM 75", *through)

    proxy.cut = Cut("request", 5_000_000, reset=True)
    foreign(*send, "--patience", "0", code=75)
    share = foreign(*send)
    assert proxy.counts["request"] < 3_000_000, "it went on where it stopped"
    assert len(ok(staff.get("/api/v1/transfers"), 200)["transfers"]) == before + 1

    proxy.cut = Cut("response", 4_000_000, reset=False)
    received(foreign, share, tmp_path, "--patience", "0", *through, code=75)
    proxy.cut = Cut("response", 60, reset=False)  # in the headers of the repeated claim, which is asked for again
    received(foreign, share, tmp_path, *through)
    assert proxy.counts["response"] < 3_000_000, "it went on where it stopped"
    assert contents(tmp_path / "received") == {path.name: path.read_bytes()}


@pytest.mark.parametrize("at", ["the middle", "the end"])
def test_docs_protocol_client_refuses_an_altered_file(foreign, caducee, house, staff, tmp_path, at):
    """One byte of a stored file; nothing gets the file's name, and the claim is not completed."""
    files = some_files(tmp_path / "export", 16_384)
    answer = caducee("send", *files, "--to", "CPAM 75", "--json").json
    query = "SELECT blob_id FROM files WHERE transfer_id = ?"
    ((blob_id,),) = house.installation.rows(query, answer["transfer_id"])
    (stored,) = [file for file in house.installation.files("blobs") if file.name == blob_id]
    whole = stored.read_bytes()
    place = 9_000 if at == "the middle" else len(whole) - 1
    stored.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert "altered" in received(foreign, answer["shares"][0], tmp_path, code=1)
    assert contents(tmp_path / "received") == {}
    shown = ok(staff.get(f"/api/v1/transfers/{answer['transfer_id']}"), 200)
    assert shown["shares"][0]["state"] == "claimed"
    ok(staff.delete(f"/api/v1/transfers/{answer['transfer_id']}"), 204)
