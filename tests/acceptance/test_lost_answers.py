"""A client that closes its connection right behind the request: nothing comes of it that only the response would name.

Lesson 42: an answer that is lost must not burn a claim, nor leave a deposit that nobody can fetch or withdraw.
"""

import base64
import json
import secrets
import socket
import struct
import time

import pytest

from tests.acceptance.people import claim, issue, key_header, look, ok, open_transfer, send
from tests.acceptance.service import until

TRIES = 3
"""A busy machine may end this side only after the other has answered; a service that does not look fails each time."""

LEAVES = pytest.mark.parametrize("how", ["in order", "by a reset"])


def leave(server, how: str, head: str, body: bytes = b"", **headers: str) -> None:
    """Send a request and close the connection at once."""
    host = server.origin.removeprefix("http://")
    lines = {"Host": host, "Content-Length": str(len(body))} | headers
    with socket.create_connection(("127.0.0.1", int(host.partition(":")[2]))) as line:
        text = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
        if how == "in order":  # the end of the connection arrives with the request, however busy this machine is
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        else:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.sendall(f"{head} HTTP/1.1\r\n{text}\r\n".encode() + body)


@LEAVES
@pytest.mark.parametrize("route", ["claim", "content"])
def test_a_share_is_not_claimed_for_a_client_that_is_gone(server, staff, anyone, how, route):
    for _ in range(TRIES):
        share = send(staff)
        if route == "claim":
            body = json.dumps({"link_secret": share.secret, "password": share.password}).encode()
            leave(server, how, f"POST /api/v1/shares/{share.id}/claim", body, Content_Type="application/json")
        else:
            both = base64.b64encode(f"link:{share.secret}.{share.password}".encode()).decode()
            leave(server, how, f"POST /api/v1/shares/{share.id}/content", Authorization=f"Basic {both}")
        time.sleep(1)
        seen = look(anyone, share)
        if seen["state"] == "issued":
            break
    assert (seen["state"], seen["attempts_left"]) == ("issued", 5)
    assert claim(anyone, share).get().content == b"content"


@LEAVES
def test_a_deposit_whose_client_is_gone_ends(server, staff, how):
    label = secrets.token_hex(8)
    query = f"recipient=cut&expires_in=1h&label={label}"
    leave(server, how, f"PUT /api/v1/send/a.csv?{query}", b"x" * 100_000, Authorization=staff.headers["authorization"])

    def all_ended() -> bool:
        own = [each for each in ok(staff.get("/api/v1/transfers"), 200)["transfers"] if each["label"] == label]
        return all(each["state"] not in {"receiving", "live"} for each in own)

    time.sleep(1)
    until(all_ended)


@LEAVES
def test_no_share_is_issued_to_a_depositor_who_is_gone(server, staff, how):
    headers = {"Authorization": staff.headers["authorization"], "Content_Type": "application/json"}
    body = json.dumps({"recipient": "cut"}).encode()
    for _ in range(TRIES):
        transfer, key = open_transfer(staff)
        ok(staff.put(f"/api/v1/transfers/{transfer}/files/a", content=b"x", headers=key_header(key)), 201)
        leave(server, how, f"POST /api/v1/transfers/{transfer}/shares", body, Caducee_Client_Key=key, **headers)
        time.sleep(1)
        issued = ok(staff.get(f"/api/v1/transfers/{transfer}"), 200)["shares"]
        if not issued:
            break
    assert issued == []
    issue(staff, transfer, key)


def test_a_client_that_reads_its_answer_and_closes_keeps_its_deposit(staff):
    """`Connection: close`, as urllib and HTTP/1.0 clients send it: the response ends the connection."""
    answer = staff.put("/api/v1/send/a?recipient=x", content=b"kept", headers={"Connection": "close"})
    sent = ok(answer, 201)
    time.sleep(0.5)
    assert ok(staff.get(f"/api/v1/transfers/{sent['transfer_id']}"), 200)["state"] == "live"
