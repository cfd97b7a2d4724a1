"""The protocol class, on the kind of socket that `serve` shares among several workers."""

import asyncio
import hashlib
import json
import random
import socket
from contextlib import asynccontextmanager

import h11
import pytest
import uvicorn

from app.web.server import CAUTIOUS_READ_BYTES, PromptProtocol, _PassingOn

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"


async def application(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def serving(protocol=0, app=application, **options):
    """A server on a free port of 127.0.0.1; answers its address."""
    config = uvicorn.Config(app, http=PromptProtocol, lifespan="off", log_config=None, **options)
    server = uvicorn.Server(config)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as listening:
        listening.bind(("127.0.0.1", 0))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0.01)
        yield listening.getsockname()
        server.should_exit = True
        await running


@pytest.mark.parametrize("protocol", [0, socket.IPPROTO_TCP])
def test_an_answer_does_not_wait_for_the_clients_acknowledgement(protocol, monkeypatch):
    """Head and body go out by two writes. Without TCP_NODELAY the second waits for the first one's acknowledgement, and
    that is delayed: 40 ms for each request on a connection that is used again.
    """
    made, begin = [], PromptProtocol.connection_made

    def remember(self, transport):
        begin(self, transport)
        made.append(transport)

    monkeypatch.setattr(PromptProtocol, "connection_made", remember)

    async def ask():
        async with serving(protocol) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(REQUEST)
            assert b" 200 " in await reader.readline()
            option = made[0].get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
            return option

    assert asyncio.run(ask()) == 1


def test_too_many_connections_are_refused_as_everything_else_is():
    """With a problem document that says so, and a connection that closes; the others go on."""

    async def ask(address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(REQUEST)
        return await reader.readuntil(b"\r\n\r\n"), reader, writer

    async def story():
        async with serving(limit_concurrency=2) as address:
            kept = [await ask(address) for _ in range(2)]
            head, reader, writer = await ask(address)
            refusal = json.loads(await reader.read())
            for _, _, connection in [*kept, (head, reader, writer)]:
                connection.close()
            return [answer for answer, _, _ in kept], head, refusal

    answers, head, refusal = asyncio.run(story())
    assert all(b" 200 " in answer for answer in answers)
    assert b" 503 " in head
    assert b"retry-after" in head.lower()
    assert b"nosniff" in head
    assert refusal["code"] == "busy"


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


@pytest.mark.parametrize("seed", range(4))
def test_bodies_come_in_as_they_were_sent_however_they_are_cut(seed):
    """Of a known length and in chunks, small and larger than one reading, one request right behind the other."""
    chance = random.Random(seed)
    bodies = [chance.randbytes(chance.choice([0, 1, 16_384, 70_000, 2_500_000])) for _ in range(6)]
    wire = b"".join(request_with(body, chance, in_chunks=chance.random() < 0.5) for body in bodies)

    async def story():
        async with serving(app=digesting) as address:
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
    end, taken, read = len(first), list[tuple[int, int]](), PromptProtocol.data_received

    def noting(self, data):
        taken.append((sum(count for _, count in taken), len(data)))
        read(self, data)

    monkeypatch.setattr(PromptProtocol, "data_received", noting)

    async def story():
        async with serving(app=app) as address:
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
    connection, piece = _PassingOn(), bytes(300_000)
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

    handed_on, hand_on = [], _PassingOn.next_event

    def noting(self):
        event = hand_on(self)
        if isinstance(event, h11.Data):
            handed_on.append(event.data)
        return event

    async def story(monkeypatch):
        monkeypatch.setattr(_PassingOn, "next_event", noting)
        async with serving(app=keeping) as address:
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
