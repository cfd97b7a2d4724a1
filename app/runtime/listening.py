"""The sockets that `serve` listens on, bound before anything else happens, so that a start that cannot listen leaves
nothing behind. All workers share them, so their number changes nothing.

`::` is every address of the machine, IPv4 too, whatever net.ipv6.bindv6only says; without IPv6 it is every IPv4
address. Any other address is itself alone, and a name is each of its addresses that this machine has.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address

from app.domain.network_address import in_url, parse_address

BACKLOG = 2048
NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})
NOT_HERE = frozenset({errno.EADDRNOTAVAIL, *NO_IPV6})
PORT_OPTION, HOST_OPTION = "--port or CADUCEE_PORT", "--host"


class CannotListen(Exception):
    """The address or port that `serve` was given is not to be had."""


def bind(host: str, port: int) -> list[socket.socket]:
    """Return sockets bound to every address that `host` means. Raises CannotListen, with the option to change."""
    bound: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, address in _addresses(host, port):
            try:
                bound.append(_bound(family, address, both=host_is_any(host)))
            except OSError as error:
                if error.errno not in NOT_HERE:
                    raise
                missing = error
    except OSError as error:
        close(bound)
        raise _cannot(host, port, error) from None
    if not bound:
        raise _cannot(host, port, missing or OSError(errno.EADDRNOTAVAIL, "")) from None
    return bound


def listen(bound: list[socket.socket], host: str) -> None:
    """Begin to accept connections. Raises CannotListen if another process has begun to on the same port since."""
    for each in bound:
        try:
            each.listen(BACKLOG)
        except OSError as error:
            raise _cannot(host, each.getsockname()[1], error) from None


def close(bound: list[socket.socket]) -> None:
    """Close the sockets."""
    for each in bound:
        each.close()


def host_is_any(host: str) -> bool:
    """Return whether `host` is `::`, every address of both families."""
    return parse_address(host) == IPv6Address(0)


def _addresses(host: str, port: int) -> Iterator[tuple[socket.AddressFamily, tuple[object, ...]]]:
    """Yield the socket addresses of `host`, each once."""
    if host_is_any(host):
        yield (socket.AF_INET6, ("::", port)) if _has_ipv6() else (socket.AF_INET, ("0.0.0.0", port))  # noqa: S104
        return
    literal = parse_address(host)
    if isinstance(literal, IPv4Address):  # also one that was mapped into IPv6
        host = str(literal)
    try:
        found = socket.getaddrinfo(host.removeprefix("[").removesuffix("]"), port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise CannotListen(f"{HOST_OPTION}: {host!r} is neither an address nor a name that resolves") from None
    yield from dict.fromkeys((family, address) for family, _, _, _, address in found)


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError as error:
        if error.errno not in NO_IPV6:
            raise
        return False
    return True


def _bound(family: socket.AddressFamily, address: tuple[object, ...], *, both: bool) -> socket.socket:
    with _closed_on_error(socket.socket(family, socket.SOCK_STREAM)) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        made.bind(address)
    return made


@contextmanager
def _closed_on_error(made: socket.socket) -> Iterator[socket.socket]:
    try:
        yield made
    except BaseException:
        made.close()
        raise


def _cannot(host: str, port: int, error: OSError) -> CannotListen:
    """Say which option to change."""
    if error.errno == errno.EADDRINUSE:
        return CannotListen(f"port {port} of {host} is in use by another process; choose another: {PORT_OPTION}")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return CannotListen(f"this user may not listen on port {port}; choose one from 1024 up: {PORT_OPTION}")
    if error.errno in NOT_HERE:
        return CannotListen(f"this machine has no address {host}; choose one that it has: {HOST_OPTION}")
    return CannotListen(f"cannot listen on {in_url(host)}:{port}: {os.strerror(error.errno or 0)}; {HOST_OPTION}")
