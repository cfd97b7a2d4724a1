"""Clients whose line is cut once in each kind of request: the recipient gets one link, and every file, once.

Lesson 42: a lost response leaves no share that nobody was told of.
"""

from __future__ import annotations

import random
import re

import httpx
import pytest

from app.client import patience
from app.client.collecting import collect
from app.client.errors import ServiceRefused
from app.client.fetching import Fetching
from app.client.sending import Request, Sending, Sent
from app.client.state import ClientState
from tests.acceptance.cutting_proxy import Cut, CuttingProxy
from tests.acceptance.people import bearer, ok
from tests.acceptance.service import NO_TLS


@pytest.fixture
def proxy(house):
    proxy = CuttingProxy(("127.0.0.1", house.server.port))
    yield proxy
    proxy.close()


@pytest.fixture
def bad_line(house, proxy):
    """A client that loses the first response to each kind of request, or half of a part, and the kinds it has lost."""

    def client(**headers):
        lost = list[str]()

        def before(request):
            path = re.sub("/[A-Za-z0-9_-]{22}", "", request.url.path.removeprefix("/api/v1"))
            if f"{request.method} {path}" not in lost:
                lost.append(f"{request.method} {path}")
                proxy.cut = (
                    Cut("request", 300_000, reset=True) if "PATCH" in lost[-1] else Cut("response", 10, reset=True)
                )

        always = {"Connection": "close", "Host": house.server.origin.removeprefix("http://")}
        http = httpx.Client(
            base_url=f"http://127.0.0.1:{proxy.port}",
            headers=always | headers,
            event_hooks={"request": [before]},
            verify=NO_TLS,
            trust_env=False,
        )
        return http, lost

    return client


def test_each_response_lost_once_costs_neither_link_nor_file(house, bad_line, staff, tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.05)
    content = random.Random(9).randbytes(1_000_000)
    (tmp_path / "a.csv").write_bytes(content)
    request, shown = Request(collect([tmp_path / "a.csv"]), ["CPAM 75"], {"expires_in": "1h"}), list[Sent]()
    http, lost = bad_line(**bearer(house.tokens["staff"]))
    with http:
        Sending(http, ClientState(tmp_path / "sender"), request, patience_seconds=20).run(shown.append)
    assert {"POST /transfers", "PUT /transfers/key", "POST /transfers/uploads", "PATCH /uploads"} <= set(lost)
    assert {"POST /transfers/shares", "PUT /shares/key"} <= set(lost)
    share, path = shown[0].shares["CPAM 75"], f"/api/v1/transfers/{shown[0].transfer_id}"
    states = {each["id"]: each["state"] for each in ok(staff.get(path), 200)["shares"]}
    assert states.pop(share.id) == "issued"
    assert set(states.values()) == {"withdrawn"}, "nobody was told of them"

    (tmp_path / "received").mkdir()
    http, lost = bad_line()
    with http:
        fetching = Fetching(http, ClientState(tmp_path / "recipient"), share.link, folder=tmp_path / "received")
        (file,) = fetching.run(share.password, patience_seconds=20)
    assert {"POST /shares/claim", "GET /claims/blobs/0", "POST /claims/complete"} == set(lost)
    assert file.path.read_bytes() == content
    assert list((tmp_path / "received").iterdir()) == [file.path]


def test_an_interrupted_run_and_the_next_ask_for_different_shares(house, tmp_path):
    """Their passwords differ: under one key the service would take the second for a misuse, and refuse it for good."""
    (tmp_path / "a.csv").write_bytes(b"x")
    request = Request(collect([tmp_path / "a.csv"]), ["A"], {"expires_in": "1h"})
    state, keys = ClientState(tmp_path), list[str]()

    def interrupted(request):
        if request.url.path.endswith("/shares"):
            keys.append(request.headers["idempotency-key"])
            if len(keys) == 1:
                raise KeyboardInterrupt

    with house.server.http(house.tokens["staff"]) as http:
        http.event_hooks = {"request": [interrupted]}
        with pytest.raises(KeyboardInterrupt):
            Sending(http, state, request).run(lambda _: None)
        Sending(http, state, request).run(lambda _: None)
    assert len(set(keys)) == 2


def test_a_transfer_that_another_owner_began_is_not_taken_for_ended(house, tmp_path):
    """Its link may be valid: a second transfer would be a second link, and the first could not be withdrawn."""
    (tmp_path / "a.csv").write_bytes(b"x")
    request, state = Request(collect([tmp_path / "a.csv"]), ["A"], {"expires_in": "1h"}), ClientState(tmp_path)

    def lost(_):
        raise KeyboardInterrupt

    with house.server.http(house.tokens["staff"]) as http:
        with pytest.raises(KeyboardInterrupt):
            Sending(http, state, request).run(lost)
        before = ok(http.get("/api/v1/transfers"), 200)["transfers"]
    with house.server.http(house.installation.token()) as http:
        sending = Sending(http, state, request)
        for refused in (lambda: sending.run(lost), sending.give_up):
            with pytest.raises(ServiceRefused, match="use the access token of that run"):
                refused()
        assert ok(http.get("/api/v1/transfers"), 200)["transfers"] == []
    with house.server.http(house.tokens["staff"]) as http:
        Sending(http, state, request).run(lambda _: None)
        assert len(ok(http.get("/api/v1/transfers"), 200)["transfers"]) == len(before), "it went on with its own"
