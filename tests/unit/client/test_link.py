"""Links as people paste them."""

import json
from pathlib import Path

import pytest

from app.client.link import Link
from app.crypto.encoding import encode
from app.crypto.errors import MalformedSecret

ID, SECRET = encode(bytes(range(16))), bytes(range(32))


@pytest.mark.parametrize("sealed", [True, False])
def test_a_link_is_taken_apart_and_put_together_again(sealed):
    text = f"https://host.example/s/{ID}#{'sealed.' if sealed else ''}{encode(SECRET)}"
    link = Link.parse(f"  {text}\n")
    assert (link.server, link.share_id, link.secret, link.sealed) == ("https://host.example", ID, SECRET, sealed)
    assert link.text() == text


def test_the_link_of_the_vectors_reads_as_it_should():
    vectors = json.loads((Path(__file__).parents[2] / "vectors" / "wrapping.json").read_text("utf-8"))
    link = Link.parse(vectors["sealed"]["link"])
    assert (link.sealed, link.share_id) == (True, vectors["life"]["share_id"])
    assert link.secret.hex() == vectors["life"]["link_secret"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#",
        f"https://host.example/s/{ID}",
        f"https://host.example/s/{ID}#",
        f"https://host.example/s/{ID}#sealed.",
        f"https://host.example/s/{ID}#sealed.{encode(SECRET)[:-1]}",
        f"https://host.example/s/{ID}#sealed.sealed.{encode(SECRET)}",
        f"https://host.example/s/{ID}#Sealed.{encode(SECRET)}",
        f"https://host.example/s/{ID[:-1]}#{encode(SECRET)}",
        f"https://host.example/{ID}#{encode(SECRET)}",
        f"ftp://host.example/s/{ID}#{encode(SECRET)}",
        f"host.example/s/{ID}#{encode(SECRET)}",
    ],
)
def test_what_is_no_link_is_refused_without_being_quoted(text):
    with pytest.raises(MalformedSecret) as refused:
        Link.parse(text)
    assert encode(SECRET)[:10] not in str(refused.value)


def test_a_link_is_not_shown_by_accident():
    assert encode(SECRET) not in repr(Link.parse(f"https://host.example/s/{ID}#{encode(SECRET)}"))
