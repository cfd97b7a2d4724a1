"""Large bodies both ways: without copies, and the plain way when a version is untested."""

import asyncio
import hashlib
import random

import h11
import httpx
import pytest
from structlog.testing import capture_logs

from app.actions.issue_access_token import issue_access_token
from app.domain.access_token import Role
from app.domain.audience import Audience
from app.main import create_app
from app.web import large_bodies
from app.web.large_bodies import CAUTIOUS_READ_BYTES, TESTED, PassingConnection, report_if_aside, untested
from app.web.server import PromptProtocol
from tests.integration.actions.stories import run
from tests.integration.web.test_server import application, serving


class WithoutCopies(PromptProtocol):
    """The protocol with a tested version of everything."""

    avoids_copies = True


class SteppedAside(PromptProtocol):
    """The protocol with an untested version of something."""

    avoids_copies = False


both_ways = pytest.mark.parametrize("http", [WithoutCopies, SteppedAside])


def test_the_installed_server_and_parser_are_tested_versions():
    """Else every upload costs more, and nobody notices. Add a version to TESTED once these tests pass with it."""
    found = large_bodies.installed()
    assert untested({name: found[name] for name in ("uvicorn", "h11")}) == {}


@pytest.mark.parametrize("name", TESTED)
@pytest.mark.parametrize("other", ["0.1.7", "99.0", "3", "unknown"])
def test_another_minor_version_is_untested(name, other):
    versions = {each: f"{minors[0]}.4" for each, minors in TESTED.items()}
    assert untested(versions) == {}
    assert untested(versions | {name: other}) == {name: other}


def test_one_line_in_the_log_names_what_is_untested():
    versions = {each: minors[0] for each, minors in TESTED.items()}
    with capture_logs() as quiet:
        report_if_aside(versions)
    assert quiet == []
    with capture_logs() as logged:
        report_if_aside(versions | {"h11": "0.17.0"})
    assert [(line["event"], line["untested"]) for line in logged] == [("large_bodies_are_copied", {"h11": "0.17.0"})]


async def digesting(_scope, receive, send):
    """Answers the hash of the body, taken as slowly as it is asked."""
    digest, more = hashlib.sha256(), True
    while more:
        message = await receive()
        digest.update(message["body"])
        more = message["more_body"]
        await asyncio.sleep(0)
    answer = digest.hexdigest().encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"64")]})
    await send({"type": "http.response.body", "body": answer})


def request_with(body, chance, *, in_chunks):
    if not in_chunks:
        return b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    chunks, position = [], 0
    while position < len(body):
        part = body[position : position + chance.choice([1, 700, 5000, 300_000])]
        chunks.append(b"%x\r\n%s\r\n" % (len(part), part))
        position += len(part)
    return b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"


@both_ways
@pytest.mark.parametrize("seed", range(4))
def test_bodies_come_in_as_they_were_sent_however_they_are_cut(seed, http):
    """Of a known length and in chunks, small and larger than one reading, one request right behind the other."""
    chance = random.Random(seed)
    bodies = [chance.randbytes(chance.choice([0, 1, 16_384, 70_000, 2_500_000])) for _ in range(6)]
    wire = b"".join(request_with(body, chance, in_chunks=chance.random() < 0.5) for body in bodies)

    async def story():
        async with serving(app=digesting, http=http) as address:
            reader, writer = await asyncio.open_connection(*address)

            async def send():
                position = 0
                while position < len(wire):
                    step = chance.choice([1, 60, 4000, 65_536, 1 << 20, 3 << 20])
                    writer.write(wire[position : position + step])
                    await writer.drain()
                    await asyncio.sleep(0.001)
                    position += step

            sending = asyncio.create_task(send())
            answers = []
            for _ in bodies:
                await reader.readuntil(b"\r\n\r\n")
                answers.append((await reader.readexactly(64)).decode())
            await sending
            writer.close()
            return answers

    assert asyncio.run(asyncio.wait_for(story(), 30)) == [hashlib.sha256(body).hexdigest() for body in bodies]


@both_ways
@pytest.mark.parametrize("in_chunks", [False, True], ids=["length announced", "in chunks"])
def test_a_deposited_file_is_fetched_as_it_was_sent(resources, http, in_chunks):
    """Through the whole service: several readings of the socket, several pieces of the blob."""
    content = random.Random(7).randbytes(3_300_000)
    token = issue_access_token(resources, name="lab", role=Role.STAFF, lifetime=None).token

    async def pieces():
        for start in range(0, len(content), 700_000):
            yield content[start : start + 700_000]

    async def story():
        app = create_app(Audience.ALL, settings=resources.settings, resources=resources)
        client = httpx.AsyncClient(headers={"Host": resources.settings.public_url.removeprefix("http://")})
        async with app.router.lifespan_context(app), serving(app=app, http=http) as (host, port), client:
            client.base_url = f"http://{host}:{port}"
            sent = await client.put(
                "/api/v1/send/a.bin",
                params={"recipient": "r"},
                content=pieces() if in_chunks else content,
                headers={"Authorization": f"Bearer {token}"},
            )
            assert sent.status_code == 201, sent.text
            share = sent.json()
            claimed = await client.post(
                f"/api/v1/shares/{share['share_id']}/claim",
                json={"link_secret": share["link"].partition("#")[2], "password": share["password"]},
            )
            claim = claimed.json()
            fetched = await client.get(
                f"/api/v1/claims/{claim['claim_id']}/files/0",
                headers={"Authorization": f"Bearer {claim['claim_token']}"},
            )
            return fetched.content

    assert run(asyncio.wait_for(story(), 30)) == content


async def refusing(_scope, _receive, send):
    """Answers after a while, without a look at the body."""
    await asyncio.sleep(0.05)
    await application(_scope, _receive, send)


@pytest.mark.parametrize(("app", "read_of_it"), [(digesting, True), (refusing, False)])
def test_little_is_read_beyond_a_body_and_of_one_that_nobody_wants(app, read_of_it, monkeypatch):
    """What follows may be a request in chunks of a byte, parsed in one turn of the loop: a second and a half for a MiB.
    And of a body that the application does not ask for, a piece is kept in memory.
    """
    body = bytes(3_000_000)
    first = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    end, taken, read = len(first), list[tuple[int, int]](), WithoutCopies.data_received

    def noting(self, data):
        taken.append((sum(count for _, count in taken), len(data)))
        read(self, data)

    monkeypatch.setattr(WithoutCopies, "data_received", noting)

    async def story():
        async with serving(app=app, http=WithoutCopies) as address:
            _, writer = await asyncio.open_connection(*address)
            writer.write(
                first + b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100_000
            )
            await asyncio.sleep(0.5)
            writer.transport.abort()

    asyncio.run(asyncio.wait_for(story(), 30))
    assert (max(count for _, count in taken) > CAUTIOUS_READ_BYTES) is read_of_it
    assert all(start + count - end <= 2 * CAUTIOUS_READ_BYTES for start, count in taken if start < end)
    assert all(count <= CAUTIOUS_READ_BYTES for start, count in taken if start >= end)


def test_a_piece_of_a_body_is_handed_on_without_a_copy():
    """docs/performance.md: what the library and the server copied was a quarter of an upload."""
    connection, piece = PassingConnection(), bytes(300_000)
    connection.receive_data(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 300001\r\n\r\n")
    assert isinstance(connection.next_event(), h11.Request)
    assert connection.next_event() is h11.NEED_DATA
    connection.receive_data(piece)
    first = connection.next_event()
    assert isinstance(first, h11.Data)
    assert first.data is piece
    connection.receive_data(b"!GET")
    rest = connection.next_event()
    assert isinstance(rest, h11.Data)
    assert rest.data == b"!"
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    assert connection.trailing_data[0] == b"GET"


def test_the_server_adds_no_copy_of_its_own():
    """Nor does uvicorn keep it in between, once the application waits for it."""
    pieces = []

    async def keeping(_scope, receive, send):
        more = True
        while more:
            message = await receive()
            pieces.append(message["body"])
            more = message["more_body"]
        await application(_scope, receive, send)

    handed_on, hand_on = [], PassingConnection.next_event

    def noting(self):
        event = hand_on(self)
        if isinstance(event, h11.Data):
            handed_on.append(event.data)
        return event

    async def story(monkeypatch):
        monkeypatch.setattr(PassingConnection, "next_event", noting)
        async with serving(app=keeping, http=WithoutCopies) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
            for _ in range(2):
                await asyncio.sleep(0.05)
                writer.write(bytes(100_000))
            await reader.readuntil(b"ok")
            writer.close()

    with pytest.MonkeyPatch.context() as patch:
        asyncio.run(asyncio.wait_for(story(patch), 30))
    kept = {id(piece) for piece in handed_on}
    assert sum(len(piece) for piece in pieces) == 200_000
    assert any(id(piece) in kept for piece in pieces if piece)
