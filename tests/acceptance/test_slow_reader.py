"""A recipient on a slow line: what its kernel acknowledges is progress and counts; what waits in a buffer does neither.

Lesson 43: measured at the peer, not in a queue of ours.
"""

import json
import socket
import time
from contextlib import suppress

import pytest

from tests.acceptance.people import claim, ok, send
from tests.acceptance.service import Installation, until

SIZE, STALL_SECONDS = 500_000, 3


@pytest.fixture
def impatient(tmp_path):
    """A server that cuts a download of which nothing was acknowledged for three seconds."""
    installation = Installation(tmp_path, STALL_TIMEOUT=f"{STALL_SECONDS}s")
    with installation.serving() as server:
        yield installation, server


def slow_line(server, held, first: int = 0) -> socket.socket:
    """A request whose answer is read as slowly as the reader likes: the kernel takes little beyond that."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host = server.origin.removeprefix("http://")
    line.connect(("127.0.0.1", int(host.partition(":")[2])))
    head = f"Host: {host}\r\nAuthorization: Bearer {held.token}\r\nRange: bytes={first}-\r\n"
    line.sendall(f"GET /api/v1/claims/{held.id}/files/0 HTTP/1.1\r\n{head}\r\n".encode())
    line.settimeout(10)
    return line


def rest_of(line) -> bytes:
    """Everything until the server's reset."""
    received = b""
    with suppress(ConnectionResetError):
        while part := line.recv(20_000):
            received += part
        raise AssertionError("the response ended in order")
    return received


def body_of(received: bytes) -> bytes:
    return received.partition(b"\r\n\r\n")[2]


@pytest.mark.external
def test_a_slow_reader_gets_everything_and_pays_once(impatient):
    """It takes several times as long as the stall timeout, in which whole pieces wait in the server's buffers."""
    installation, server = impatient
    with server.http(installation.token("staff")) as staff, server.http() as anyone:
        content = bytes(range(250)) * (SIZE // 250)
        share = send(staff, content)
        held = claim(anyone, share)
        received, begun = bytearray(), time.monotonic()
        with slow_line(server, held) as line:
            while len(body_of(bytes(received))) < SIZE:
                part = line.recv(20_000)
                assert part, "the slow reader was cut"
                received += part
                time.sleep(0.4)
        assert time.monotonic() - begun > 2 * STALL_SECONDS
        assert body_of(bytes(received)) == content

        def logged():
            entries = json.loads(installation.run("audit", "log", "--event", "file.fetched", "--json").out)["entries"]
            return entries or None

        (entry,) = until(logged)
        assert (entry["size"], entry["acknowledged"], entry["outcome"]) == (SIZE, SIZE, "sent")


def test_a_reader_that_stops_is_cut_and_resumes_and_paid_for_what_arrived(impatient):
    installation, server = impatient
    with server.http(installation.token("staff")) as staff, server.http() as anyone:
        content = bytes(range(250)) * (SIZE * 8 // 250)
        share = send(staff, content)
        held = claim(anyone, share)
        got = b""
        with slow_line(server, held) as line:
            while len(body_of(got)) < 100_000:
                got += line.recv(20_000)
            time.sleep(STALL_SECONDS + 3)
            got += rest_of(line)
        arrived = len(body_of(got))
        assert arrived < len(content)
        rest = anyone.get(
            f"/api/v1/claims/{held.id}/files/0",
            headers={"Authorization": f"Bearer {held.token}", "Range": f"bytes={arrived}-"},
        )
        assert (rest.status_code, body_of(got) + rest.content == content) == (206, True)
        ok(anyone.post(f"/api/v1/claims/{held.id}/complete", headers={"Authorization": f"Bearer {held.token}"}), 204)
        served = json.loads(installation.run("audit", "log", "--event", "share.completed", "--json").out)["entries"][0][
            "size"
        ]
        assert served < 1.5 * len(content)
