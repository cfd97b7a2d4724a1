"""A share is redeemed by its link and password together, once, and by nothing else; a cut download is not lost."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

from tests.acceptance.people import (
    Claim,
    bearer,
    claim,
    issue,
    key_header,
    look,
    ok,
    send,
    try_claim,
    wrong_password,
    wrong_secret,
)
from tests.acceptance.service import until
from tests.attacks.raw import head

SCANNER = {"User-Agent": "Mozilla/5.0 SafeLinks", "Purpose": "prefetch", "Sec-Purpose": "prefetch;prerender"}


def test_opening_looking_and_previewing_redeem_nothing(staff, anyone):
    """Lesson 14: GET, HEAD, OPTIONS, prefetch, a link scanner that clicks every button without the password
    (Yopass #3961, PrivateBin #1185).
    """
    share = send(staff)
    paths = [
        f"/s/{share.id}",
        *(f"/api/v1/shares/{share.id}{rest}" for rest in ("", "/look", "/claim", "/content")),
        f"/api/v1/claims/{share.id}/files/0",
    ]
    for path in paths:
        for method in ("GET", "HEAD", "OPTIONS"):
            answer = anyone.request(method, path, headers=SCANNER | {"Authorization": f"Bearer {share.secret}"})
            assert answer.status_code in {200, 404, 405}
            assert share.password not in answer.text
    for body in ({}, {"link_secret": share.secret}, {"link_secret": share.secret, "password": ""}):
        assert anyone.post(f"/api/v1/shares/{share.id}/claim", json=body, headers=SCANNER).status_code == 400
    anyone.post(f"/api/v1/shares/{share.id}/content", auth=("link", f"{share.secret}."), headers=SCANNER)
    seen = look(anyone, share)
    assert (seen["state"], seen["attempts_left"]) == ("issued", 5)
    assert claim(anyone, share).get().content == b"content"


def test_a_one_byte_range_neither_completes_nor_blocks(staff, anyone):
    """Lesson 15 (Send #1097, Hemmelig #505, OnionShare)."""
    share = send(staff, b"0123456789")
    held = claim(anyone, share)
    for spot in (0, 9, 5):
        assert held.get(range=f"bytes={spot}-{spot}").content == str(spot).encode()
    assert held.get("files/0", "HEAD").status_code == 200
    assert look(anyone, share)["state"] == "claimed"
    assert held.get().content == b"0123456789"
    assert held.complete().status_code == 204


@pytest.mark.parametrize("path", ["files/0", "content"])
def test_a_download_cut_at_half_is_resumed_where_it_was(server, staff, anyone, path):
    """Lesson 15: both ways of fetching; the other half comes by Range, and both make the file."""
    content = os.urandom(6_000_000)
    share = send(staff, content)
    if path == "content":
        authorization = "Authorization: " + share.basic._auth_header
        request = head("POST", f"/api/v1/shares/{share.id}/content", server.port, authorization, "Content-Length: 0")
    else:
        held = claim(anyone, share)
        request = head("GET", f"/api/v1/claims/{held.id}/files/0", server.port, f"Authorization: Bearer {held.token}")
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        while len(received) < 3_000_000:
            received += connection.recv(65_536)
    top, _, first = received.partition(b"\r\n\r\n")
    if path == "content":
        line = next(line for line in top.decode().split("\r\n") if line.startswith("caducee-claim: "))
        claim_id, _, token = line.partition(": ")[2].partition(".")
    else:
        claim_id, token = held.id, held.token
    headers = bearer(token) | {"Range": f"bytes={len(first)}-"}
    rest = anyone.get(f"/api/v1/claims/{claim_id}/files/0", headers=headers)
    assert rest.status_code == 206
    assert first + rest.content == content
    assert ok(try_claim(anyone, share), 410)["code"] == "share_used"


def test_a_claim_is_fetched_three_times_over_and_no_more(house, staff, anyone):
    """Lesson 16: Lufi re-reads for ever. A file may add 2 KiB for the headers of an archive."""
    held = claim(anyone, send(staff, bytes(1_000_000)))
    served = 0
    while (answer := held.get()).status_code == 200:
        served += len(answer.content)
        counted = "SELECT 1 FROM claims WHERE id = ? AND bytes_served = ?"
        until(lambda: house.installation.rows(counted, held.id, served), what="the count")  # noqa: B023 - called at once
        assert served <= 3 * 1_004_000
    assert served == 3_000_000
    assert ok(answer, 410)["code"] == "claim_exhausted"
    assert ok(held.get("blobs/0"), 410)["code"] == "claim_exhausted", "the other form of the same bytes counts too"
    assert ok(held.get(range="bytes=500000-"), 410)["code"] == "claim_exhausted"


def test_many_fetches_at_once_get_no_more_than_one_after_the_other(server, staff, anyone):
    """Lesson 16: forty connections at once are a way to re-read, too."""
    size = 7_000_000
    held = claim(anyone, send(staff, bytes(size)))
    mine = bearer(held.token)
    path = f"/api/v1/claims/{held.id}/files/0"

    def fetch(_):
        pieces = []
        with (
            server.http() as http,
            suppress(httpx.RemoteProtocolError, httpx.ReadError),
            http.stream("GET", path, headers=mine) as answer,
        ):
            pieces += [len(piece) for piece in answer.iter_bytes()]
        return sum(pieces)

    with ThreadPoolExecutor(20) as threads:
        served = sum(threads.map(fetch, range(20)))
    assert 0 < served <= 3 * (size + 10_000)


@pytest.mark.parametrize("path", ["claim", "content"])
def test_wrong_links_and_passwords_never_burn_a_share(staff, anyone, path):
    """Lesson 19 (PrivateBin #620): a hundred wrong links, four wrong passwords, and the right one still opens."""
    share = send(staff)
    for _ in range(50):
        assert try_claim(anyone, share, link_secret=wrong_secret()).status_code == 404
        wrong = ("link", f"{wrong_secret()}.{share.password}")
        assert anyone.post(f"/api/v1/shares/{share.id}/content", auth=wrong).status_code == 404
    for _ in range(4):
        assert try_claim(anyone, share, password=wrong_password()).status_code == 401
    if path == "claim":
        assert claim(anyone, share).get().content == b"content"
    else:
        assert anyone.post(f"/api/v1/shares/{share.id}/content", auth=share.basic).content == b"content"


@pytest.mark.parametrize("end", ["completed", "withdrawn", "deleted", "locked", "expired", "other share completed"])
def test_after_its_end_no_route_reaches_a_byte(staff, anyone, end):
    """Lesson 18: limit, expiry and lock hold on every route that reaches bytes (Bitwarden PR #6958;
    Pingvin acbff6e).
    """
    share = send(staff, b"content", expires_in="2" if end == "expired" else "1h")
    second = issue(staff, share.transfer_id, share.client_key)
    held: Claim | None = claim(anyone, share)
    assert held
    if end == "completed":
        held.complete()
    elif end == "withdrawn":
        staff.delete(f"/api/v1/shares/{share.id}")
    elif end == "deleted":
        staff.delete(f"/api/v1/transfers/{share.transfer_id}")
    elif end == "locked":
        for _ in range(5):
            try_claim(anyone, second, password=wrong_password())
        held, share = None, second
    elif end == "expired":
        until(lambda: look(anyone, share)["state"] == "expired", what="the expiry")
    else:
        held.complete()
        second_held = claim(anyone, second)
        second_held.complete()
        held, share = second_held, second

    for answer in _every_way_in(anyone, share, held):
        assert answer.status_code == 410, f"{answer.request.method} {answer.request.url}"
        assert b"content" not in answer.content.replace(b"content is destroyed", b"")
    if end in {"deleted", "expired", "other share completed"}:
        path = f"/api/v1/transfers/{share.transfer_id}"
        headers = key_header(share.client_key)
        for answer in (
            staff.post(f"{path}/shares", json={"recipient": "x"}, headers=headers),
            staff.put(f"{path}/files/a", content=b"x", headers=headers),
        ):
            assert ok(answer, 410)["code"] == "transfer_ended"


def _every_way_in(http, share, held):
    yield try_claim(http, share)
    yield try_claim(http, share, link_secret=None, link_proof=share.proof)
    yield http.post(f"/api/v1/shares/{share.id}/content", auth=share.basic)
    if held is not None:
        yield try_claim(http, share, claim_token=held.token)
        for path in ("files/0", "blobs/0"):
            for method in ("GET", "HEAD"):
                yield held.get(path, method)
                yield held.get(path, method, range="bytes=0-0")


def test_a_vault_out_of_reach_redeems_nothing(house, staff, anyone):
    """Lesson 17: vault or database fails during a claim: rolled back, 503, still redeemable."""
    share, held = send(staff), claim(anyone, send(staff))
    vault, away = house.installation.data / "vault", house.installation.data / "vault.away"
    vault.rename(away)
    try:
        assert ok(try_claim(anyone, share), 503)["code"] == "vault_unavailable"
        assert (
            ok(anyone.post(f"/api/v1/shares/{share.id}/content", auth=share.basic), 503)["code"] == "vault_unavailable"
        )
        assert ok(held.get(), 503)["code"] == "vault_unavailable"
        sent = staff.put("/api/v1/send/a?recipient=x", content=b"x")
        assert ok(sent, 503)["code"] == "vault_unavailable"
        assert sent.headers["retry-after"]
        ready = anyone.get("/readyz")
        assert (ready.status_code, "vault_unavailable" in ready.json()["reasons"]) == (503, True)
    finally:
        away.rename(vault)
    assert look(anyone, share)["attempts_left"] == 5
    assert claim(anyone, share).get().content == held.get().content == b"content"
    until(lambda: anyone.get("/readyz").status_code == 200, what="recovery")


def test_a_blob_out_of_reach_costs_the_recipient_nothing(house, staff, anyone):
    share = send(staff)
    held = claim(anyone, share)
    blobs = house.installation.blobs
    away = blobs.with_name(f"{blobs.name}.away")
    blobs.rename(away)
    try:
        answer = _status_or_cut(held)
        assert answer in {503, "cut"}
    finally:
        away.rename(blobs)
    assert look(anyone, share)["state"] == "claimed"
    assert held.get().content == b"content"
    until(lambda: anyone.get("/readyz").status_code == 200, what="recovery")


def _status_or_cut(held):
    try:
        return held.get().status_code
    except (httpx.RemoteProtocolError, httpx.ReadError):
        return "cut"
