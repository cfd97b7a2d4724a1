"""Lesson 46: addresses and hosts are parsed, never compared as text (tinyice #47, authentik #25679, g3 #720,
Containarium #1668).
"""

from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.network_address import (
    UNKNOWN,
    canonical_address,
    client_of,
    is_loopback,
    networks,
    parse_address,
    parse_host,
    parse_network,
    parse_origin,
)
from app.domain.party import party_of

ADDRESSES = st.ip_addresses()
IPV4 = st.ip_addresses(v=4)
JUNK = st.one_of(
    st.text(), st.text(alphabet="0123456789abcdef:.[]%/, ", max_size=50), st.from_regex(r"[\[\]0-9a-f:.%]{1,60}")
)


def spellings(address):
    """Every way in which sockets and proxies write an address."""
    if address.version == 4:
        mapped = [f"::ffff:{address}", f"::FFFF:{address}", f"[::ffff:{address}]:443", f"::ffff:{address}%lo"]
        return [str(address), f"{address}:65535", *mapped]
    exploded = address.exploded.upper()
    return [str(address), exploded, f"[{exploded}]", f"[{address}]:80", f"{address}%eth0", f"[{address}%eth0]:443"]


@given(ADDRESSES)
def test_every_spelling_of_an_address_is_one_address(address):
    kept = getattr(address, "ipv4_mapped", None) or address
    assert {canonical_address(spelt) for spelt in spellings(address)} == {str(kept)}
    assert len({party_of(spelt) for spelt in spellings(address)}) == 1


@pytest.mark.parametrize(
    "text",
    ["", "unknown", "localhost", "1.2.3", "01.2.3.4", "1.2.3.4:65536", "1.2.3.4:", "[1.2.3.4]", "[::1", "::1]",
     "1.2.3.4%x", "::ffff:1.2.3.4:80", "[::1]:x", "_hidden", "unix:",
     "1.2.3.4/32", " 1.2.3.4", "\uff11.2.3.4", "2130706433", "[[::1]]"],
)  # fmt: skip
def test_other_text_is_no_address(text):
    assert parse_address(text) is None
    assert canonical_address(text) == UNKNOWN


@given(JUNK)
@example("::%")
@example("[::1%]:0")
@example("\0")
def test_no_text_raises(text):
    assert parse_address(canonical_address(text)) == parse_address(text)
    parse_host(text, scheme="https")
    parse_origin(text)
    party_of(text)
    is_loopback(text)


@given(peer=JUNK | ADDRESSES.map(str), forwarded=st.lists(JUNK | ADDRESSES.map(str)))
def test_an_untrusted_peer_is_never_believed(peer, forwarded):
    trusted = networks(("192.0.2.1", "2001:db8::/64"))
    itself = parse_address(peer)
    if itself is None or not any(itself in network for network in trusted):
        assert client_of(peer, forwarded, trusted) == canonical_address(peer)
    assert client_of(peer, forwarded, ()) == canonical_address(peer)


@given(peer=st.sampled_from(["192.0.2.1", "::ffff:192.0.2.1"]), forged=st.lists(JUNK | ADDRESSES.map(str)), client=IPV4)
def test_whatever_a_client_forges_its_proxy_is_believed(peer, forged, client):
    """The client writes what it likes, and the proxy adds the address that it saw: at the end, or as a line."""
    trusted = networks(("192.0.2.1",))
    if client == ip_address("192.0.2.1"):
        return
    seen = f"{client}:4711"
    assert client_of(peer, [*forged, seen], trusted) == str(client)
    assert client_of(peer, [", ".join([*forged, seen])], trusted) == str(client)


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        (["203.0.113.7", "10.9.9.9:80"], "203.0.113.7"),
        (["6.6.6.6, unknown, 10.9.9.9"], "10.9.9.9"),
        (["6.6.6.6, "], "127.0.0.1"),
        (["6.6.6.6, unix:"], "127.0.0.1"),
        ([""], "127.0.0.1"),
        ([], "127.0.0.1"),
        (["10.1.1.1"], "10.1.1.1"),
        (["[2001:DB8::7]:443, ::ffff:10.9.9.9"], "2001:db8::7"),
        (["6.6.6.6", *["10.9.9.9"] * 40], "10.9.9.9"),
    ],
)
def test_the_list_is_read_from_the_right_up_to_the_first_entry_that_is_not_trusted(forwarded, client):
    """Junk ends the reading with the proxy that wrote it: what stands further left may be the client's own."""
    assert client_of("::ffff:127.0.0.1", forwarded, networks(("127.0.0.1", "10.0.0.0/8"))) == client


def test_a_peer_without_an_address_is_unknown_and_not_trusted():
    assert client_of(UNKNOWN, ["6.6.6.6"], networks(("127.0.0.1",))) == UNKNOWN


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("127.0.0.1", "127.0.0.1/32"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::FFFF:10.0.0.1", "10.0.0.1/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("[::1]", "::1/128"),
    ],
)
def test_a_proxy_is_an_address_or_a_network(text, network):
    assert str(parse_network(text)) == network


@pytest.mark.parametrize(
    "text",
    ["proxy", "10.0.0.1:80", "10.0.0.1/8", "0.0.0.0/0", "::/0", "::ffff:0:0/96", "10.0.0.0/33", "", "fe80::1%eth0"],
)
def test_what_is_no_proxy_or_everybody_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_network(text)


@pytest.mark.parametrize(
    ("spelt", "scheme", "host"),
    [
        ("files.example.org", "https", ("files.example.org", 443)),
        ("Files.Example.ORG.", "https", ("files.example.org", 443)),
        ("files.example.org:443", "https", ("files.example.org", 443)),
        ("files.example.org.:443", "https", ("files.example.org", 443)),
        ("files.example.org:", "https", ("files.example.org", 443)),
        ("files.example.org:80", "https", ("files.example.org", 80)),
        ("files.example.org:80", "http", ("files.example.org", 80)),
        ("XN--DONNES-EVA.example.org", "https", ("xn--donnes-eva.example.org", 443)),
        ("[2001:DB8:0::1]:443", "https", ("2001:db8::1", 443)),
        ("[::ffff:127.0.0.1]:8000", "http", ("127.0.0.1", 8000)),
        ("127.0.0.1:8000", "http", ("127.0.0.1", 8000)),
    ],
)
def test_a_host_in_any_spelling(spelt, scheme, host):
    assert parse_host(spelt, scheme=scheme) == host


@pytest.mark.parametrize(
    "text",
    ["", ".", "a..b", "a b", "a/", "a@b", "u:p@a", "a:0", "a:65536", "a:-1", "a:8x", "::1", "[::1", "[::1%eth0]",
     "[1.2.3.4]", "données.example.org", "a,b", "-a", "a" * 64, "[]", "a:80:80", "http://a", "a.."],
)  # fmt: skip
def test_what_is_no_host(text):
    assert parse_host(text, scheme="https") is None


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("HTTPS://Files.Example.org:443/", "https://files.example.org"),
        ("https://files.example.org.", "https://files.example.org"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[0:0::1]:80", "http://[::1]"),
        ("ftp://a", None),
        ("https://a/b", None),
        ("null", None),
        ("", None),
    ],
)
def test_an_origin_is_spelt_as_browsers_do(text, origin):
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    ("address", "party"),
    [
        ("2001:db8:0:1::5", "2001:db8:0:1::/64"),
        ("[2001:db8:0:1:ffff::]:443", "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::5%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_party_is_an_ipv4_address_or_an_ipv6_network(address, party):
    assert party_of(address) == party
