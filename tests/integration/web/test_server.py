"""The protocol class, on the kind of socket that `serve` shares among several workers."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest
import uvicorn

from app.web.server import PromptProtocol

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"


async def application(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def serving(protocol=0, app=application, http=PromptProtocol, **options):
    """A server on a free port of 127.0.0.1; answers its address."""
    config = uvicorn.Config(app, http=http, lifespan="off", log_config=None, **options)
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
