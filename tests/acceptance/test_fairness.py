"""Lesson 44: one client that asks on 50 connections at once does not starve the others: they wait at most three times
as long as when it is quiet, and none of them is refused. The greedy client is merely slow; it loses nothing either.
"""

import os
import secrets
import statistics
import time
from dataclasses import dataclass, field

import httpx
import pytest

from tests.acceptance.greedy import Step, at_work
from tests.acceptance.independent_client import to_text
from tests.acceptance.people import add_file, bearer, claim, key_header, ok, open_transfer, send
from tests.acceptance.service import Installation, Server
from tests.marks import in_test_all

MEGABYTE = 1_000_000
TIMES_QUIET = 3.0
GREEDY = [
    "issues shares",
    "sends",
    "uploads",
    "uploads much",
    "repeats its claim",
    "repeats it by proof",
    "fetches",
    "looks",
]


@dataclass
class Waits:
    """How long the others' requests took, in seconds, by kind."""

    took: dict[str, list[float]] = field(default_factory=dict)

    def note(self, kind: str, act):
        started = time.perf_counter()
        done = act()
        self.took.setdefault(kind, []).append(time.perf_counter() - started)
        return done

    @property
    def medians(self) -> dict[str, float]:
        return {kind: statistics.median(took) for kind, took in self.took.items()}


@dataclass
class Others:
    """A depositor and a recipient who do one thing after the other."""

    server: Server
    token: str

    def live(self, rounds: int, size: int) -> Waits:
        """Deposit, in both ways, claim and fetch; any refusal fails the test."""
        waits, content = Waits(), os.urandom(size)
        with self.server.http(self.token) as depositor, self.server.http() as recipient:
            transfer, key = open_transfer(depositor)
            for _ in range(rounds):
                waits.note("upload", lambda: ok(add_file(depositor, transfer, key, content), 201))
                share = waits.note("send", lambda: send(depositor, content))
                held = waits.note("claim", lambda share=share: claim(recipient, share))
                assert waits.note("fetch", lambda held=held: held.get().content) == content
                assert held.complete().status_code == 204
            depositor.delete(f"/api/v1/transfers/{transfer}")
        return waits


def steps_of(kind: str, http: httpx.Client, token: str, size: int) -> list[Step]:
    """What a greedy client of a kind repeats."""
    headers = bearer(token)
    if kind == "sends":
        return [Step("PUT", "/api/v1/send/x?recipient=x&expires_in=1h", headers, size=1_000)]
    if kind.startswith("uploads"):
        transfer, key = open_transfer(http)
        much = 50 * size if kind.endswith("much") else 1
        path = f"/api/v1/transfers/{transfer}/files/x"
        return [Step("PUT", path, headers | key_header(key), size=much)]
    share = send(http, os.urandom(size), keep_until_expiry="true")
    if kind == "issues shares":
        issuing = Step(
            "POST",
            f"/api/v1/transfers/{share.transfer_id}/shares",
            headers | key_header(share.client_key),
            json={"recipient": "x"},
        )
        return [issuing, Step("DELETE", "/api/v1/shares/{share_id}", headers)]
    if kind == "looks":
        return [Step("POST", f"/api/v1/shares/{share.id}/look", json={"link_proof": share.proof})]
    chosen = to_text(secrets.token_bytes(32))
    by = {"link_proof": share.proof} if kind.endswith("proof") else {"link_secret": share.secret}
    asked = by | {"password": share.password, "claim_token": chosen}
    path = f"/api/v1/shares/{share.id}/claim"
    answer = ok(http.post(path, json=asked), 200)
    if kind == "fetches":
        return [Step("GET", f"/api/v1/claims/{answer['claim_id']}/files/0", bearer(chosen) | {"Range": "bytes=0-0"})]
    return [Step("POST", path, json=asked)]


def compare(server: Server, tokens: tuple[str, str], kind: str, *, rounds: int, size: int) -> dict[str, float]:
    """How many times longer the others wait beside a greedy client, by kind of request."""
    greedy, others = tokens[0], Others(server, tokens[1])
    others.live(2, size)
    quiet = others.live(rounds, size).medians
    with server.http(greedy) as http:
        steps = steps_of(kind, http, greedy, size)
    with at_work(server.port, *steps) as statuses:
        time.sleep(1.0)
        beside = others.live(rounds, size).medians
    times = {kind: beside[kind] / quiet[kind] for kind in quiet}
    print(f"\n{kind}: greedy {dict(statuses)}")
    for each in quiet:
        print(f"  {each:8} quiet {quiet[each] * 1000:6.1f} ms, beside {beside[each] * 1000:7.1f} ms: {times[each]:.2f}")
    return times


@pytest.mark.parametrize("kind", [in_test_all("issues shares"), "repeats its claim", in_test_all("uploads")])
def test_others_are_served_beside_a_greedy_client(tmp_path, kind):
    """In small: cheap passwords, so few milliseconds that only the order of magnitude can be compared."""
    installation = Installation(tmp_path)
    with installation.serving() as server:
        tokens = installation.token(), installation.token()
        times = compare(server, tokens, kind, rounds=6, size=100_000)
    assert max(times.values()) <= 5 * TIMES_QUIET, times


@pytest.mark.acceptance
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", GREEDY)
def test_others_wait_at_most_three_times_as_long_beside_a_greedy_client(tmp_path, kind):
    """At the real cost of Argon2, a worker per core."""
    installation = Installation(tmp_path, ARGON2_TIME="3", ARGON2_MEMORY_KIB="65536", ARGON2_LANES="4")
    with installation.serving("--workers", "2") as server:
        tokens = installation.token(), installation.token()
        times = compare(server, tokens, kind, rounds=15, size=MEGABYTE)
    assert max(times.values()) <= TIMES_QUIET, times
