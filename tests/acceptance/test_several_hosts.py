"""Nodes and schedulers on PostgreSQL, a vault on PostgreSQL and a bucket: what holds on one host holds on several."""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest

from app.crypto.encoding import encode
from app.crypto.token import new_secret
from tests.acceptance.nodes import Again, Cluster, all_at_once
from tests.acceptance.people import Share, bearer, ok
from tests.object_stores import started

pytestmark = [pytest.mark.postgres, pytest.mark.external, pytest.mark.timeout(600)]

CUT: Again = (httpx.TransportError,)
"""What a killed node does to its clients."""
HELD = "SELECT count(*) FROM transfers WHERE state <> 'verified'"


@pytest.fixture(scope="module")
def stores(postgres_server, vault_instance, tmp_path_factory):
    """Variables of empty stores."""
    with started("rclone", tmp_path_factory.mktemp("bucket") / "rclone") as bucket:
        yield lambda url: {"CADUCEE_DATABASE_URL": url, "CADUCEE_VAULT": vault_instance.url} | bucket.variables()


@pytest.fixture
def start_cluster(stores, postgres_server, vault_server, tmp_path):
    started_ones, url = [], postgres_server.create()

    def start(count):
        started_ones.append(Cluster(tmp_path, stores(url), count))
        return started_ones[-1]

    yield start
    for cluster in started_ones:
        cluster.end()
    postgres_server.drop(url)


def deposit(cluster: Cluster, content: bytes, again_after: Again = (), **asked: str) -> Share:
    query = {"recipient": "CPAM 75", "expires_in": "1h"} | asked
    answer = cluster.ask(
        "PUT",
        "/api/v1/send/a.bin",
        again_after=again_after,
        params=query,
        content=content,
        headers=bearer(cluster.token),
    )
    given = ok(answer, 201)
    return Share(given["transfer_id"], given["client_key"], given["share_id"], given["link"], given["password"])


def claim(cluster: Cluster, share: Share, token: str | None = None, again_after: Again = ()) -> httpx.Response:
    body = {"link_secret": share.secret, "password": share.password}
    if token is not None:
        body["claim_token"] = token
    return cluster.ask("POST", f"/api/v1/shares/{share.id}/claim", again_after=again_after, json=body)


def claim_named(cluster: Cluster, share: Share) -> tuple[str, httpx.Response]:
    return share.id, claim(cluster, share)


def fetch(cluster: Cluster, claimed: dict[str, Any], again_after: Again = CUT) -> httpx.Response:
    path = f"/api/v1/claims/{claimed['claim_id']}/files/0"
    return cluster.ask("GET", path, again_after=again_after, headers=bearer(claimed["claim_token"]))


def nothing_is_left(cluster) -> None:
    """Every transfer is verified, each deletion is in the log once, the log verifies, and no store holds anything."""
    cluster.until_row(HELD, 0, seconds=90, what="the end of all transfers")
    ids = [row[0] for row in cluster.signer.rows("SELECT id FROM transfers")]
    deleted = cluster.signer.rows("SELECT transfer FROM audit_entries WHERE event = 'transfer.deleted'")
    assert Counter(row[0] for row in deleted) == Counter(ids)
    cluster.signer.run("sweep")
    cluster.signer.run("audit", "verify")
    cluster.signer.run("audit", "retention")
    cluster.signer.run("doctor", "--reconcile", code=None)
    findings = cluster.signer.run("doctor", "--reconcile", "--json", code=None).json["findings"]
    said = {each["check"]: each["said"] for each in findings}
    assert [said[each] for each in ("blobs", "keys", "rows")] == ["0 held, 0 belong to nothing, 0 destroyed"] * 3


def test_of_two_hundred_claims_on_four_nodes_twenty_succeed_one_for_each_share(start_cluster):
    """Lesson 13, over hosts: clients that try again after 503. Then two schedulers delete everything, each once."""
    cluster = start_cluster(4)
    shares = [deposit(cluster, f"content {number}".encode()) for number in range(20)]
    racers = [share for share in shares for _ in range(10)]
    random.Random(18).shuffle(racers)
    answers = all_at_once([partial(claim_named, cluster, share) for share in racers])
    won = Counter(share_id for share_id, answer in answers if answer.status_code == 200)
    assert won == Counter(share.id for share in shares)
    lost = {(answer.status_code, answer.json()["code"]) for _, answer in answers if answer.status_code != 200}
    assert lost == {(410, "share_used")}
    for share, answer in ((each, answer.json()) for each, answer in answers if answer.status_code == 200):
        number = [each.id for each in shares].index(share)
        assert fetch(cluster, answer).content == f"content {number}".encode()
        done = f"/api/v1/claims/{answer['claim_id']}/complete"
        assert cluster.ask("POST", done, again_after=(), headers=bearer(answer["claim_token"])).status_code == 204
    nothing_is_left(cluster)


def test_no_request_fails_while_one_node_after_the_other_restarts(start_cluster):
    """Behind a proxy that tries the next node when a connection is refused."""
    cluster, stop, done = start_cluster(2), threading.Event(), []

    def work():
        while not stop.is_set():
            share = deposit(cluster, b"content")
            claimed = ok(claim(cluster, share), 200)
            assert fetch(cluster, claimed, again_after=()).content == b"content"
            done.append(share)

    def restart_all():
        try:
            for number in range(2):
                before = len(done)
                cluster.restart(number)
                cluster.servers[number].wait_until_ready()
                assert len(done) > before
        finally:
            stop.set()

    all_at_once([work, work, restart_all])


@dataclass
class Story:
    """What clients were promised while nodes were killed."""

    unclaimed: list[tuple[Share, bytes]] = field(default_factory=list)
    claimed: list[Share] = field(default_factory=list)
    short: list[tuple[Share, float]] = field(default_factory=list)


def live_through(cluster, story, stop, seed) -> None:
    """Deposit, claim and fetch, again and again. A lost answer to a claim is asked for again with the same token."""
    chance = random.Random(seed)
    while not stop.is_set():
        content = chance.randbytes(chance.choice([10, 5_000, 300_000]))
        try:
            share = deposit(cluster, content)
            expiring = deposit(cluster, b"short", expires_in="8s")
        except httpx.TransportError:  # never acknowledged
            continue
        story.short.append((expiring, time.time() + 9))
        if chance.random() < 0.5:
            story.unclaimed.append((share, content))
            continue
        claimed = ok(claim(cluster, share, encode(new_secret()), again_after=CUT), 200)
        assert fetch(cluster, claimed).content == content
        story.claimed.append(share)
        for expired, over in story.short[-20:]:
            if time.time() > over:
                assert claim(cluster, expired, again_after=CUT).status_code == 410


def kill_for(cluster, seconds, every, stop) -> None:
    chance, until_over = random.Random(9), time.monotonic() + seconds
    try:
        while time.monotonic() < until_over:
            time.sleep(every)
            cluster.restart(chance.randrange(len(cluster.nodes)), kill=True)
    finally:
        stop.set()


def survives(cluster, *, seconds, every, clients) -> None:
    story, stop = Story(), threading.Event()
    acts = [partial(live_through, cluster, story, stop, seed) for seed in range(clients)]
    all_at_once([*acts, partial(kill_for, cluster, seconds, every, stop)])
    for server in cluster.servers:
        server.wait_until_ready()
    assert story.claimed
    assert story.unclaimed
    for share in story.claimed:
        assert claim(cluster, share).json()["code"] == "share_used", "nothing is fetched twice"
    for share, content in story.unclaimed:
        assert fetch(cluster, ok(claim(cluster, share), 200)).content == content, "no acknowledged deposit is lost"
    for share, over in story.short:
        time.sleep(max(0, over - time.time()))
        assert claim(cluster, share).status_code == 410
    for (transfer,) in cluster.signer.rows(HELD.replace("count(*)", "id")):
        cluster.ask("DELETE", f"/api/v1/transfers/{transfer}", again_after=CUT, headers=bearer(cluster.token))
    print(f"{len(story.claimed)} fetched, {len(story.unclaimed)} kept, {len(story.short)} expired")
    nothing_is_left(cluster)


def test_killed_nodes_break_no_promise(start_cluster):
    """The small twin of the next test."""
    survives(start_cluster(2), seconds=12, every=4, clients=2)


@pytest.mark.acceptance
@pytest.mark.timeout(1_200)
def test_a_random_node_killed_every_five_seconds_breaks_no_promise(start_cluster):
    survives(start_cluster(4), seconds=120, every=5, clients=4)
