"""Who shares the service with others: a depositor by access token, a recipient by network address."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from app.domain.network_address import parse_address

IPV6_PREFIX = 64
"""A customer gets at least this network (RFC 6177), and may use any address in it."""


def party_of(address: str) -> str:
    """Return the party of a client's address: itself for IPv4, also when mapped into IPv6; its /64 network for IPv6;
    any other text unchanged.
    """
    parsed = parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed), IPV6_PREFIX), strict=False))
    return address if parsed is None else str(parsed)
