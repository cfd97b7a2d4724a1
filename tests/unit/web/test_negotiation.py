"""`Accept` and `Accept-Language`: weights count, malformed ones do not, and JSON is the default."""

import pytest

from app.web.negotiation import wants_representation, wants_text, weighted
from app.web.pages.catalogues import language_of

TEXT = [
    "text/plain",
    "TEXT/Plain; charset=utf-8",
    "text/*",
    "text/plain, */*",
    "text/plain, application/json",
    "application/json;q=0.5, text/plain;q=0.8",
    "application/problem+json;q=0.1, text/plain",
    "text/html, text/plain;q=0.9, */*;q=0.1",
    "text/plain ; q=0.001",
]
JSON = [
    None,
    "",
    "*/*",
    "application/json",
    "text/html",
    "application/json, text/plain, */*",
    "text/plain;q=0",
    "text/plain;q=0.5, application/json",
    "text/plain;q=0.5, application/problem+json;q=0.6",
    "text/plain;q=2",
    "text/plain;q=nan",
    "text/plain;q=1e0",
    "text/plain;q=",
    "text/plainer",
]


@pytest.mark.parametrize("accept", TEXT)
def test_text_is_sent_to_who_prefers_it(accept):
    assert wants_text(accept)


@pytest.mark.parametrize("accept", JSON)
def test_json_is_sent_to_everybody_else(accept):
    assert not wants_text(accept)


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("fr", "fr"),
        ("fr-CA", "fr"),
        ("FR;q=0.2, en;q=0.1", "fr"),
        ("en;q=0.2,fr ; q=0.8", "fr"),
        ("en, fr", "en"),
        ("de, fr;q=0.1", "fr"),
        ("fr;q=0", "en"),
        ("fr;q=nan, en;q=0.1", "en"),
        ("fr;q=inf, en;q=0.1", "en"),
        ("fr;q=0.12345, en;q=0.1", "en"),
        ("*", "en"),
        ("", "en"),
        (None, "en"),
    ],
)
def test_the_language_is_the_one_that_is_preferred(asked, language):
    assert language_of(asked) == language


def test_a_flood_of_ranges_is_not_read():
    assert len(list(weighted("a," * 10_000))) < 100


@pytest.mark.parametrize(
    ("prefer", "asks"),
    [
        ([], False),
        (["return=representation"], True),
        (['respond-async, Return = "Representation"; x=1'], True),
        (["wait=10", "return=representation"], True),
        (["return=minimal, return=representation"], False),
        (["return", "representation"], False),
        (["return=representation=x"], False),
    ],
)
def test_the_resource_is_returned_to_who_prefers_it(prefer, asks):
    """RFC 7240: of a preference that is stated twice, the first counts."""
    assert wants_representation(prefer) == asks
