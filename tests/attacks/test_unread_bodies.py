"""Lesson 29: a request that is refused while its body still comes is answered, and its connection closed soon after."""

import socket
import time
from contextlib import suppress

import pytest

from app.web.unread_bodies import LINGER_BYTES, LINGER_SECONDS
from tests.acceptance.people import look, ok, send
from tests.acceptance.service import AT_ONCE
from tests.attacks.raw import connected, head, receive_all

REFUSED = [
    ("PUT", "/api/v1/send/a?recipient=x", 401, "not_authenticated"),
    ("PUT", "/api/v1/nowhere", 404, "not_found"),
    ("POST", "/api/v1/shares/AAAAAAAAAAAAAAAAAAAAAA/claim", 413, "too_large"),
]


def kept_open(method, path, port, *headers):
    """The head of a request whose client would use the connection again."""
    return head(method, path, port, *headers).replace(b"Connection: close\r\n", b"")


def endless_body(connection, piece, *, seconds):
    """Send until the server closes; answers how many bytes went out and how long it took."""
    started, sent = time.monotonic(), 0
    with suppress(BrokenPipeError, ConnectionResetError):
        while time.monotonic() - started < seconds:
            connection.sendall(piece)
            sent += len(piece)
    return sent, time.monotonic() - started


@pytest.mark.parametrize(("method", "path", "status", "code"), REFUSED)
def test_a_refused_request_is_answered_before_its_body_ends(server, method, path, status, code):
    """And says that the connection closes: its client must not send another request after this body."""
    with connected(server.port) as connection:
        connection.sendall(kept_open(method, path, server.port, "Content-Length: 1000000000") + bytes(100_000))
        answer = receive_all(connection)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(("method", "path", "status", "code"), REFUSED)
def test_a_body_that_never_ends_is_not_read_for_ever(server, method, path, status, code):
    """A megabyte a time, as fast as the server takes it."""
    with connected(server.port) as connection:
        connection.sendall(kept_open(method, path, server.port, "Content-Length: 1000000000000"))
        sent, took = endless_body(connection, bytes(1024 * 1024), seconds=LINGER_SECONDS + 2 * AT_ONCE)
    assert took < LINGER_SECONDS + AT_ONCE
    assert sent < LINGER_BYTES + 32 * 1024 * 1024  # what both kernels buffer comes on top


def test_a_body_that_trickles_after_its_refusal_is_closed_in_time(server):
    """However little it sends: the limit counts from the response."""
    with connected(server.port) as connection:
        connection.sendall(head("PUT", "/api/v1/send/a?recipient=x", server.port, "Content-Length: 1000000000"))
        started = time.monotonic()
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - started < LINGER_SECONDS + AT_ONCE * AT_ONCE:
                connection.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - started < LINGER_SECONDS + AT_ONCE


def test_one_byte_chunks_after_a_refusal_keep_nobody_waiting(server, staff):
    """They are expensive to parse, so what comes after a refusal is not parsed."""
    send(staff)
    piece = b"1\r\nx\r\n" * 20_000
    connections = []
    for _ in range(8):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        connection.sendall(head("PUT", "/api/v1/send/a", server.port, "Transfer-Encoding: chunked"))
        assert connection.recv(9) == b"HTTP/1.1 "
        connection.setblocking(False)
        connections.append(connection)
    started = time.monotonic()
    for connection in connections * 20:
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            connection.send(piece)
    send(staff)
    assert time.monotonic() - started < LINGER_SECONDS + AT_ONCE
    for connection in connections:
        connection.close()


def test_a_client_that_sends_its_whole_body_first_reads_why_it_was_refused(server):
    """As most HTTP libraries do."""
    body = bytes(8_000_000)
    with connected(server.port) as connection:
        request = kept_open("PUT", "/api/v1/send/a?recipient=x", server.port, f"Content-Length: {len(body)}")
        connection.sendall(request + body)
        answer = receive_all(connection)
    assert (answer.status, answer.json["code"]) == (401, "not_authenticated")


def test_a_body_that_has_arrived_leaves_the_connection_open(server):
    """The control: a refusal alone closes nothing."""
    request = kept_open("PUT", "/api/v1/send/a?recipient=x", server.port, "Content-Length: 5") + b"hello"
    with connected(server.port) as connection:
        for _ in range(3):
            connection.sendall(request)
            received = b""
            while not received.endswith(b"}"):
                received += connection.recv(65_536)
            assert received.startswith(b"HTTP/1.1 401")
            assert b"connection" not in received.partition(b"\r\n\r\n")[0].lower()


@pytest.mark.parametrize("body", [b"0\r\n\r\n", b"4\r\nbody\r\n0\r\n\r\n"])
def test_two_lengths_are_refused_and_nothing_behind_them_is_a_request(server, staff, anyone, body):
    """Request smuggling (RFC 9112, 6.1): the service and a proxy must not see two different bodies."""
    share = send(staff)
    lengths = ["Content-Type: application/json", "Content-Length: 4", "Transfer-Encoding: chunked"]
    request = kept_open("POST", f"/api/v1/shares/{share.id}/look", server.port, *lengths) + body
    with connected(server.port) as connection:
        connection.sendall(request + kept_open("GET", "/livez", server.port))
        answer = receive_all(connection)
    assert answer.received.count(b"HTTP/1.1 ") == 1
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert ok(anyone.get("/livez"), 200)
    assert look(anyone, share)["state"] == "issued"
