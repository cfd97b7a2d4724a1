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
    """Requests of one client, each on a connection of its own. `sizes`: what the latest whole request of each kind and
    its response measured. `broken`: how many requests failed by a cut.
    """

    def __init__(self, server, proxy, chance):
        self.server, self.proxy, self.chance = server, proxy, chance
        self.sizes, self.broken, self.cuts = {}, 0, False

    def cut(self, kind) -> Cut | None:
        """A cut at any byte of such a request or its response."""
        if not self.cuts:
            return None
        directions: tuple[Direction, Direction] = ("request", "response")
        direction = self.chance.choice(directions)
        return Cut(direction, self.chance.randrange(self.sizes[kind][direction]), reset=self.chance.random() < 0.5)

    def once(self, method, path, cut=None, **asked):
        self.proxy.cut = cut
        headers = {"Host": self.server.origin.removeprefix("http://")} | asked.pop("headers", {})
        with httpx.Client(base_url=f"http://127.0.0.1:{self.proxy.port}", trust_env=False, verify=NO_TLS) as http:
            return http.request(method, path, headers=headers, timeout=20, **asked)

    def repeated(self, kind, method, path, **asked):
        """Cut the first try; then repeat it as documented, again while the service answers 503."""
        try:
            answer = self.once(method, path, self.cut(kind), **asked)
        except httpx.TransportError:
            self.broken += 1
            answer = until(lambda: (a := self.once(method, path, **asked)).status_code != 503 and a)
        self.sizes[kind] = dict(self.proxy.counts)
        return answer


def deposited(line, staff, label):
    headers = {"Authorization": staff.headers["authorization"], "Idempotency-Key": secrets.token_urlsafe(24)}
    query = {"recipient": "CPAM", "expires_in": "1h", "label": label}
    sent = ok(line.repeated("send", "PUT", "/api/v1/send/a.csv", params=query, content=CONTENT, headers=headers), 201)
    return Share(sent["transfer_id"], sent["client_key"], sent["share_id"], sent["link"], sent["password"])


def claim_body(share, token):
    return {"link_secret": share.secret, "password": share.password, "claim_token": token}


def redeemed(line, share, token):
    return line.repeated("claim", "POST", f"/api/v1/shares/{share.id}/claim", json=claim_body(share, token))


def content(line, share, token):
    headers = {"Caducee-Claim-Token": token}
    return line.repeated("content", "POST", f"/api/v1/shares/{share.id}/content", auth=share.basic, headers=headers)


def play(line, staff, *, one_line: bool) -> None:
    """A deposit and everything after it."""
    label = secrets.token_hex(8)
    share = deposited(line, staff, label)
    token, other = to_text(secrets.token_bytes(32)), to_text(secrets.token_bytes(32))
    if one_line:
        assert content(line, share, token).content == CONTENT
    claimed = ok(redeemed(line, share, token), 200)
    line.proxy.cut = None
    refused = line.once("POST", f"/api/v1/shares/{share.id}/claim", json=claim_body(share, other))
    assert ok(refused, 410)["code"] == "share_used"
    claim, held = f"/api/v1/claims/{claimed['claim_id']}", bearer(token)
    assert line.repeated("fetch", "GET", f"{claim}/files/0", headers=held).content == CONTENT
    own = [each for each in ok(staff.get("/api/v1/transfers"), 200)["transfers"] if each["label"] == label]
    assert [each["id"] for each in own if each["state"] in {"receiving", "live"}] == [share.transfer_id]
    assert line.repeated("complete", "POST", f"{claim}/complete", headers=held).status_code == 204


def play_many(server, staff, proxy, times: int) -> None:
    """Play once whole, which measures each request, and then with cuts until so many have broken a request."""
    seed = secrets.randbelow(10**6)
    print(f"seed {seed}")
    line = Line(server, proxy, random.Random(seed))
    play(line, staff, one_line=True)
    line.cuts = True
    while line.broken < times:
        play(line, staff, one_line=line.chance.random() < 0.5)
    print(f"{line.broken} requests broken")


def test_cuts_at_any_byte_lose_nothing_and_double_nothing(server, staff, proxy):
    play_many(server, staff, proxy, 40)


@pytest.mark.acceptance
@pytest.mark.timeout(1800)
def test_a_thousand_cuts(server, staff, proxy):
    play_many(server, staff, proxy, 1000)
