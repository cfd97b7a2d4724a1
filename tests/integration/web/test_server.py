"""The protocol class, on the kind of socket that `serve` shares among several workers."""

import asyncio
import socket

import pytest
import uvicorn

from app.web.server import PromptProtocol


async def application(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize("protocol", [0, socket.IPPROTO_TCP], ids=["shared by workers", "one worker"])
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
        config = uvicorn.Config(application, http=PromptProtocol, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as listening:
            listening.bind(("127.0.0.1", 0))
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
                await asyncio.sleep(0.01)
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
            assert b" 200 " in await reader.readline()
            option = made[0].get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
            server.should_exit = True
            await serving
            return option

    assert asyncio.run(ask()) == 1
