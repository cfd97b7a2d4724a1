"""Lines that are cut at any byte of `send`, `claim`, `content` and `complete`, and the documented repetition.

Lesson 42: never two live transfers, never a share that nobody can use any more, never two tokens that get bytes.
"""

import random
import secrets

import httpx
import pytest

from tests.acceptance.cutting_proxy import Cut, CuttingProxy, Direction
from tests.acceptance.independent_client import to_text
from tests.acceptance.people import Share, bearer, ok
from tests.acceptance.service import NO_TLS, until

CONTENT = b"name;result\n" * 40


@pytest.fixture
def proxy(server):
    proxy = CuttingProxy(("127.0.0.1", int(server.origin.rpartition(":")[2])))
    yield proxy
    proxy.close()


class Line:
    """Requests of one client, each on a connection of its own, the first of each kind cut."""

    def __init__(self, server, proxy):
        self.server, self.proxy = server, proxy

    def once(self, method, path, cut=None, **asked):
        self.proxy.cut = cut
        headers = {"Host": self.server.origin.removeprefix("http://")} | asked.pop("headers", {})
        with httpx.Client(base_url=f"http://127.0.0.1:{self.proxy.port}", trust_env=False, verify=NO_TLS) as http:
            return http.request(method, path, headers=headers, timeout=20, **asked)

    def repeated(self, method, path, cut, **asked):
        """Cut the first try; then repeat it as documented, after `Retry-After` where the service says so."""
        try:
            answer = self.once(method, path, cut, **asked)
        except httpx.TransportError:
            answer = until(lambda: (a := self.once(method, path, **asked)).status_code != 503 and a)
        return answer


def a_cut(chance: random.Random, proxy: CuttingProxy) -> Cut:
    """A cut at a byte of what the latest connection passed."""
    directions: tuple[Direction, Direction] = ("request", "response")
    direction = chance.choice(directions)
    return Cut(direction, chance.randrange(proxy.counts[direction]), reset=chance.random() < 0.5)


def deposited(line, staff, label, cut):
    headers = {"Authorization": staff.headers["authorization"], "Idempotency-Key": secrets.token_urlsafe(24)}
    query = {"recipient": "CPAM", "expires_in": "1h", "label": label}
    sent = ok(line.repeated("PUT", "/api/v1/send/a.csv", cut, params=query, content=CONTENT, headers=headers), 201)
    return Share(sent["transfer_id"], sent["client_key"], sent["share_id"], sent["link"], sent["password"])


def redeemed(line, share, token, cut):
    asked = {"link_secret": share.secret, "password": share.password, "claim_token": token}
    return line.repeated("POST", f"/api/v1/shares/{share.id}/claim", cut, json=asked)


def content(line, share, token, cut):
    headers = {"Caducee-Claim-Token": token}
    return line.repeated("POST", f"/api/v1/shares/{share.id}/content", cut, auth=share.basic, headers=headers)


def play(line, staff, chance, *, cuts: bool) -> None:
    """A deposit and everything after it, each request cut once."""

    def cut() -> Cut | None:
        return a_cut(chance, line.proxy) if cuts else None

    label = secrets.token_hex(8)
    share = deposited(line, staff, label, cut())
    one_line, token, other = chance.random() < 0.5, to_text(secrets.token_bytes(32)), to_text(secrets.token_bytes(32))
    if one_line:
        assert content(line, share, token, cut()).content == CONTENT
    claimed = ok(redeemed(line, share, token, cut()), 200)
    assert ok(redeemed(line, share, other, None), 410)["code"] == "share_used"
    claim, held = f"/api/v1/claims/{claimed['claim_id']}", bearer(token)
    assert line.repeated("GET", f"{claim}/files/0", cut(), headers=held).content == CONTENT
    own = [each for each in ok(staff.get("/api/v1/transfers"), 200)["transfers"] if each["label"] == label]
    assert [each["id"] for each in own if each["state"] in {"receiving", "live"}] == [share.transfer_id]
    assert line.repeated("POST", f"{claim}/complete", cut(), headers=held).status_code == 204


def play_many(line, staff, times: int) -> None:
    seed = secrets.randbelow(10**6)
    chance = random.Random(seed)
    print(f"seed {seed}")
    play(line, staff, chance, cuts=False)
    for _ in range(times):
        play(line, staff, chance, cuts=True)


def test_cuts_at_any_byte_lose_nothing_and_double_nothing(server, staff, proxy):
    play_many(Line(server, proxy), staff, 8)


@pytest.mark.acceptance
@pytest.mark.timeout(1800)
def test_a_thousand_cuts(server, staff, proxy):
    play_many(Line(server, proxy), staff, 230)  # four or five cuts each
