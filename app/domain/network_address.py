"""Network addresses, hosts and origins, parsed. Everything that compares one uses this module, never its text.

One address has many spellings: `::ffff:192.0.2.1` is 192.0.2.1 on a socket for both families, proxies append ports, a
`Host` may carry its default port or a trailing dot. Text that is none of these is None, never an exception.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"
"""The address of a client that has none, as on a Unix socket."""

MAX_HOPS = 16
"""Proxies that are read from one `X-Forwarded-For`, from the right."""

DEFAULT_PORTS = {"http": 80, "https": 443}

_MAPPED = IPv6Network("::ffff:0:0/96")  # RFC 4291, 2.5.5.2
_WITH_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([0-9.]+))(?::([0-9]{1,5}))?", re.ASCII)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+)(?::([0-9]{0,5}))?", re.ASCII)
_NAME = re.compile(r"(?!-)[0-9a-z-]{1,63}(?<!-)(?:\.(?!-)[0-9a-z-]{1,63}(?<!-))*", re.ASCII)


def parse_address(text: str) -> Address | None:
    """Return the address in `text`: IPv4 or IPv6, alone or with a port, an IPv6 address also in brackets or with a
    zone. IPv4-mapped IPv6 is IPv4. The zone is dropped: it names an interface of one host.
    """
    spelt = _WITH_PORT.fullmatch(text)
    if spelt is not None:
        if spelt[3] is not None and int(spelt[3]) > 65_535:
            return None
        text = spelt[1] or spelt[2]
        if spelt[1] and ":" not in text:  # brackets are for IPv6 (RFC 3986, 3.2.2)
            return None
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    if isinstance(parsed, IPv4Address):
        return parsed
    return parsed.ipv4_mapped or (IPv6Address(int(parsed)) if parsed.scope_id else parsed)


def canonical_address(text: str) -> str:
    """Return the one spelling of the address in `text`, or UNKNOWN."""
    parsed = parse_address(text)
    return UNKNOWN if parsed is None else str(parsed)


def parse_network(text: str) -> Network:
    """Return the network in `text`, such as 10.1.0.0/16; a single address is a network of one. IPv4-mapped IPv6 is
    IPv4. Raises ValueError for other text, for bits beyond the prefix, a zone, and a network of all addresses.
    """
    if "%" in text:
        raise ValueError(f"{text} has a zone, which is not compared; name the address alone")
    parsed = ip_network(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    if isinstance(parsed, IPv6Network) and parsed.subnet_of(_MAPPED):
        parsed = IPv4Network((int(parsed.network_address) & 0xFFFF_FFFF, parsed.prefixlen - 96))
    if parsed.prefixlen == 0:
        raise ValueError(f"{text} is every address: any client would be believed")
    return parsed


@lru_cache(maxsize=8)
def networks(listed: tuple[str, ...]) -> tuple[Network, ...]:
    """Return the listed networks. Raises ValueError as `parse_network`."""
    return tuple(parse_network(text) for text in listed)


def client_of(peer: str, forwarded: Iterable[str], trusted: tuple[Network, ...]) -> str:
    """Return the canonical address of the client behind `peer`, or UNKNOWN.

    Only a trusted proxy is believed, and only about the hop before it: the lines of `X-Forwarded-For` are one list (RFC
    9110, 5.3), read from the right while its entries are trusted themselves. At an entry that is no address, the
    reading ends with the proxy that wrote it, because what stands further left may come from the client.
    """
    address = parse_address(peer)
    entries = ",".join(forwarded).rsplit(",", MAX_HOPS)
    while address is not None and entries and _is_in(address, trusted):
        before = parse_address(entries.pop().strip())
        if before is None:
            break
        address = before
    return UNKNOWN if address is None else str(address)


def parse_host(text: str, *, scheme: str) -> tuple[str, int] | None:
    """Return host and port of a `Host` header or an origin. Names in lower case without the trailing dot, in ASCII (a
    name with other letters is sent as `xn--...`), addresses in their one spelling; the scheme's port if none is given.
    """
    spelt = _AUTHORITY.fullmatch(text)
    if spelt is None:
        return None
    port = int(spelt[2]) if spelt[2] else DEFAULT_PORTS[scheme]
    name = spelt[1].lower().removesuffix(".")
    if not 0 < port <= 65_535 or len(name) > 253:
        return None
    if name.startswith("["):
        address = parse_address(name)
        return None if address is None else (str(address), port)
    return (name, port) if _NAME.fullmatch(name) else None


def parse_origin(text: str) -> str | None:
    """Return an origin as browsers spell it: lower case, no default port, no trailing dot or slash; otherwise None."""
    scheme, separator, authority = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in DEFAULT_PORTS:
        return None
    host = parse_host(authority.removesuffix("/"), scheme=scheme)
    if host is None:
        return None
    port = "" if host[1] == DEFAULT_PORTS[scheme] else f":{host[1]}"
    return f"{scheme}://{in_url(host[0])}{port}"


def protects_secrets(origin: str) -> bool:
    """Return whether passwords and tokens may be sent to an origin: over TLS, or to this machine itself."""
    scheme, _, authority = origin.partition("://")
    if scheme not in DEFAULT_PORTS:
        return False
    host = parse_host(authority, scheme=scheme)
    return host is not None and (scheme == "https" or is_loopback(host[0]))


def in_url(host: str) -> str:
    """Return a host as it stands in a URL: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself."""
    address = parse_address(host)
    return host == "localhost" if address is None else address.is_loopback


def is_loopback_origin(origin: str) -> bool:
    """Return whether an origin is this machine itself."""
    scheme, _, authority = origin.partition("://")
    host = parse_host(authority, scheme=scheme) if scheme in DEFAULT_PORTS else None
    return host is not None and is_loopback(host[0])


def _is_in(address: Address, trusted: tuple[Network, ...]) -> bool:
    return any(address in network for network in trusted)
