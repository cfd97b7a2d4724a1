"""Who shares the service with others: a depositor by access token, a recipient by network address."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address

IPV6_PREFIX = 64
"""A customer gets at least this network (RFC 6177), and may use any address in it."""


def party_of(address: str) -> str:
    """Return the party of a client's address: itself for IPv4, its /64 network for IPv6; any other text unchanged."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed), IPV6_PREFIX), strict=False))
