"""Links as people paste them."""

import json
from pathlib import Path

import pytest

from app.client.link import DamagedLink, Link
from app.crypto.encoding import encode

VECTORS = Path(__file__).parents[2] / "vectors"
CASES = json.loads((VECTORS / "links.json").read_text("utf-8"))["cases"]
ID, SECRET = encode(bytes(range(16))), bytes(range(32))


@pytest.mark.parametrize("sealed", [True, False])
def test_a_link_is_taken_apart_and_put_together_again(sealed):
    text = f"https://host.example/s/{ID}#{'sealed.' if sealed else ''}{encode(SECRET)}"
    link = Link.parse(f"  {text}\n")
    assert (link.server, link.share_id, link.secret, link.sealed) == ("https://host.example", ID, SECRET, sealed)
    assert link.text() == text


def test_the_link_of_the_vectors_reads_as_it_should():
    vectors = json.loads((VECTORS / "wrapping.json").read_text("utf-8"))
    link = Link.parse(vectors["sealed"]["link"])
    assert (link.sealed, link.share_id) == (True, vectors["life"]["share_id"])
    assert link.secret.hex() == vectors["life"]["link_secret"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_link_as_mail_programs_leave_it(case):
    """Lesson 48. What is no link is refused without being quoted."""
    if case["link"] is not None:
        assert Link.parse(case["text"]).text() == case["link"]
        return
    with pytest.raises(DamagedLink) as refused:
        Link.parse(case["text"])
    assert refused.value.part == case["damaged"]
    assert encode(SECRET)[:10] not in str(refused.value)


def test_a_link_is_not_shown_by_accident():
    assert encode(SECRET) not in repr(Link.parse(f"https://host.example/s/{ID}#{encode(SECRET)}"))
