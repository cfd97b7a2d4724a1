"""Lesson 46: which sockets `serve --host` means, on the real network stack."""

import os
import socket
from pathlib import Path

import pytest

from app.runtime import listening
from app.runtime.listening import CannotListen, bind, close, listen
from tests.acceptance.service import free_port


def answers(host, port):
    """Whether a connection to this address is accepted."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "reached", "not_reached"),
    [
        ("::", ["127.0.0.1", "::1"], []),
        ("[::]", ["127.0.0.1", "::1"], []),
        ("0.0.0.0", ["127.0.0.1"], ["::1"]),  # noqa: S104
        ("127.0.0.1", ["127.0.0.1"], ["::1"]),
        ("::ffff:127.0.0.1", ["127.0.0.1"], ["::1"]),
        ("::1", ["::1"], ["127.0.0.1"]),
        ("localhost", ["127.0.0.1"], []),
    ],
)
def test_a_host_is_the_addresses_that_it_means(host, reached, not_reached):
    port = free_port()
    bound = bind(host, port)
    listen(bound, host)
    try:
        assert all(answers(each, port) for each in reached)
        assert not any(answers(each, port) for each in not_reached)
    finally:
        close(bound)


def test_without_ipv6_every_address_is_every_ipv4_address(monkeypatch):
    """A kernel without IPv6, or a unit that allows AF_INET alone."""
    monkeypatch.setattr(listening, "_has_ipv6", lambda: False)
    port = free_port()
    bound = bind("::", port)
    listen(bound, "::")
    try:
        assert [each.family for each in bound] == [socket.AF_INET]
        assert answers("127.0.0.1", port)
    finally:
        close(bound)


def test_two_that_start_at_once_do_not_share_a_port():
    """Both can bind; only one can listen."""
    port = free_port()
    first, second = bind("127.0.0.1", port), bind("127.0.0.1", port)
    try:
        listen(first, "127.0.0.1")
        with pytest.raises(CannotListen, match=f"port {port} "):
            listen(second, "127.0.0.1")
    finally:
        close([*first, *second])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without the right")
def test_a_port_without_the_right_to_it_names_the_option():
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            port = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text("ascii")) - 1
            os.setuid(65_534)
            bind("127.0.0.1", port if port > 0 else 80)
        except CannotListen as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    said = os.read(read, 1_000).decode()
    os.close(read)
    if not said:
        pytest.skip("this machine lets everybody listen on every port")
    assert "may not listen on port" in said
    assert "--port" in said
