"""Lesson 29: clients that stay silent are cut, whatever they were about to say or to read.

The shared service lets go after CADUCEE_STALL_TIMEOUT=2s. A thousand such connections would otherwise be a denial of
service that costs the attacker nothing.
"""

import asyncio
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn

from app.web import server as server_module
from tests.acceptance.people import add_file, claim, key_header, look, ok, open_transfer, send
from tests.acceptance.service import AT_ONCE, free_port, until
from tests.attacks.raw import connected, head, receive_all

IDLE_SECONDS = 2
LITTLE = 256 * 1024
"""What a client may have received that asks for little buffer; the server's kernel would hold megabytes for it."""


def test_a_json_body_that_stalls_is_cut(server, staff, anyone):
    """Half a claim, and then nothing: an open route, without an account."""
    share = send(staff)
    announced = ["Content-Type: application/json", "Content-Length: 200"]
    with connected(server.port) as connection:
        connection.sendall(head("POST", f"/api/v1/shares/{share.id}/claim", server.port, *announced) + b'{"link_')
        started = time.monotonic()
        answer = receive_all(connection)
    assert time.monotonic() - started < IDLE_SECONDS + AT_ONCE
    assert (answer.status, answer.json["code"]) == (408, "client_too_slow")
    assert look(anyone, share)["attempts_left"] == 5


def test_an_upload_that_stalls_is_cut_and_leaves_nothing(house, server, staff):
    """Lesson 9."""
    transfer, key = open_transfer(staff)
    staff_token, with_key = f"Authorization: Bearer {house.tokens['staff']}", f"Caducee-Client-Key: {key}"
    path = f"/api/v1/transfers/{transfer}/files/a"
    with connected(server.port) as connection:
        connection.sendall(
            head("PUT", path, server.port, staff_token, with_key, "Content-Length: 1000000") + bytes(5_000)
        )
        started = time.monotonic()
        answer = receive_all(connection)
    assert time.monotonic() - started < IDLE_SECONDS + AT_ONCE
    assert (answer.status, answer.json["code"]) == (408, "client_too_slow")
    assert ok(staff.get(f"/api/v1/transfers/{transfer}"), 200)["files"] == []


def test_an_upload_that_trickles_is_not_cut(staff):
    """Slow is allowed: a line of 10 bytes a second is somebody's only one."""
    transfer, key = open_transfer(staff)

    def trickle():
        for _ in range(5):
            yield b"x"
            time.sleep(0.6)

    assert ok(add_file(staff, transfer, key, trickle()), 201)["size"] == 5


def test_a_download_that_stalls_is_cut_and_can_be_resumed(house, server, staff, anyone):
    """A reader that stops reading holds memory and a blob's lock; it loses the connection, not its files."""
    content = os.urandom(7_900_000)
    share = send(staff, content)
    held = claim(anyone, share)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", server.port))
        path = f"/api/v1/claims/{held.id}/files/0"
        connection.sendall(head("GET", path, server.port, f"Authorization: Bearer {held.token}"))
        before = len(house.server.log)  # other tests share the server
        first = connection.recv(1_000)
        assert first.startswith(b"HTTP/1.1 200")
        until(lambda: '"client_too_slow"' in house.server.log[before:], seconds=IDLE_SECONDS + AT_ONCE, what="the cut")
        assert len(receive_all(connection).received) < LITTLE, "what was under way is dropped, in the kernel, too"
    assert held.get().content == content
    assert held.complete().status_code == 204


@pytest.mark.parametrize("size", [2_000_000, 7_900_000], ids=["all of it taken by the kernel", "more than that"])
def test_a_stalled_download_does_not_keep_its_blob_past_a_deletion(house, server, staff, anyone, size):
    """docs/deletion.md: fetches still running then are cut. The bytes go though somebody holds them open, and what
    waits in the kernel to be sent goes with them.
    """
    share = send(staff, os.urandom(size))
    held = claim(anyone, share)
    (blob_id,) = house.installation.rows("SELECT blob_id FROM files WHERE transfer_id = ?", share.transfer_id)[0]
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", server.port))
        path = f"/api/v1/claims/{held.id}/files/0"
        connection.sendall(head("GET", path, server.port, f"Authorization: Bearer {held.token}"))
        assert connection.recv(100)
        assert staff.delete(f"/api/v1/transfers/{share.transfer_id}").status_code == 204
        until(
            lambda: ok(staff.get(f"/api/v1/transfers/{share.transfer_id}"), 200)["state"] == "verified",
            what="the deletion",
        )
        assert not [path for path in house.installation.files("blobs") if path.name == blob_id]
        time.sleep(1.5)  # a stream is looked at each second
        assert len(receive_all(connection).received) < LITTLE


@contextmanager
def served(monkeypatch, *, head_seconds):
    """Our protocol on a free port in a thread, in front of an application that reads no body."""
    monkeypatch.setattr(server_module, "HEAD_SECONDS", head_seconds)

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    port = free_port()
    quiet: dict[str, Any] = {"ws": "none", "lifespan": "off", "log_config": None, "timeout_keep_alive": 1}
    server = uvicorn.Server(uvicorn.Config(application, port=port, http=server_module.PromptProtocol, **quiet))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        until(lambda: server.started)
        yield port
    finally:
        server.should_exit = True
        thread.join()


REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        [b""],
        [b"G"],
        [REQUEST[:-2]],
        [REQUEST],
        [REQUEST + REQUEST[:-2]],
        [REQUEST, REQUEST[:-2]],
        [REQUEST, b"G"],
        [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc", b"d"],
    ],
    ids=[
        "silent",
        "one byte",
        "half a head",
        "silent after a request",
        "half a second head at once",
        "half a second head",
        "one byte of a second head",
        "half a body that nobody reads",
    ],
)
def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch, sent):
    """Slowloris: on a fresh connection, and on one that was used before."""
    with served(monkeypatch, head_seconds=0.5) as port, connected(port) as connection:
        for data in sent:
            connection.sendall(data)
            time.sleep(0.2)
        started = time.monotonic()
        receive_all(connection)
    assert time.monotonic() - started < AT_ONCE


def test_a_head_that_trickles_is_not_waited_for_either(monkeypatch):
    """A byte now and then is no sign of good will in a head."""
    with served(monkeypatch, head_seconds=0.8) as port, connected(port) as connection:
        started = time.monotonic()
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - started < 2 * AT_ONCE:
                connection.sendall(b"G")
                time.sleep(0.1)
    assert time.monotonic() - started < AT_ONCE


def test_requests_that_come_in_time_are_all_answered(monkeypatch):
    """The control: a connection that is used is not cut in the middle."""
    with served(monkeypatch, head_seconds=0.5) as port, connected(port) as connection:
        for _ in range(4):
            connection.sendall(REQUEST)
            received = b""
            while not received.endswith(b"ok"):
                received += connection.recv(1_000)
            time.sleep(0.3)


@pytest.mark.acceptance
def test_a_silent_connection_to_the_real_service_is_closed(server):
    """At full scale: half a minute."""
    with connected(server.port) as connection:
        connection.settimeout(server_module.HEAD_SECONDS + 10)
        started = time.monotonic()
        assert receive_all(connection).received == b""
    assert time.monotonic() - started > server_module.HEAD_SECONDS - 2


@pytest.mark.parametrize("header", [{}, {"Expect": "100-continue"}])
def test_an_upload_that_never_begins_is_cut(house, server, staff, header):
    transfer, key = open_transfer(staff)
    headers = key_header(key) | {"Authorization": f"Bearer {house.tokens['staff']}"} | header
    lines = [f"{name}: {value}" for name, value in headers.items()]
    with connected(server.port) as connection:
        path = f"/api/v1/transfers/{transfer}/files/a"
        connection.sendall(head("PUT", path, server.port, *lines, "Content-Length: 10"))
        started = time.monotonic()
        assert b" 408 " in receive_all(connection).received
    assert time.monotonic() - started < IDLE_SECONDS + AT_ONCE
