"""SIGTERM: a node finishes its requests, takes no new connection, and loses none that its client has begun."""

import socket
import threading
import time
from contextlib import contextmanager

import pytest

from tests.acceptance.people import add_file, ok, open_transfer
from tests.acceptance.service import accepts, until
from tests.marks import first_values


@contextmanager
def upload_under_way(http):
    """An upload that ends only after the block has."""
    transfer, key = open_transfer(http)
    begun, go_on, answers = threading.Event(), threading.Event(), []

    def body():
        yield b"first"
        begun.set()
        assert go_on.wait(30)
        yield b"last"

    upload = threading.Thread(target=lambda: answers.append(add_file(http, transfer, key, body())))
    upload.start()
    assert begun.wait(30)
    time.sleep(0.5)  # until the server has read the request
    yield
    go_on.set()
    upload.join()
    assert ok(answers[0], 201)["size"] == len(b"firstlast")


@pytest.mark.parametrize("workers", first_values(1, ["2", "1"]))
def test_a_node_that_stops_finishes_its_requests_and_refuses_new_connections_at_once(installation, workers):
    """A proxy then tries another node. uvicorn's parent of several workers would go on listening for nobody."""
    with installation.serving("--workers", workers) as server, server.http(installation.token()) as http:
        with upload_under_way(http):
            server.process.terminate()
            until(lambda: not accepts("127.0.0.1", server.port), what="the end of listening")
        server.process.wait(30)


def test_a_request_that_was_sent_as_the_node_stopped_is_answered(installation):
    """Its connection was accepted before; a proxy may not send a claim to another node again."""
    with installation.serving() as server, server.http(installation.token()) as http:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as fresh, upload_under_way(http):
            server.process.terminate()
            until(lambda: not accepts("127.0.0.1", server.port), what="the end of listening")
            fresh.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            answer = b""
            while piece := fresh.recv(4096):  # to the end: the connection is not kept
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200")
        server.process.wait(30)
