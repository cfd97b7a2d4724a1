"""The log's own writer of canonical JSON against a general implementation of RFC 8785."""

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from app.crypto.canonical_json import canonical_json

NAMES = st.text(st.characters(max_codepoint=127), max_size=12)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES = TEXTS | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1)


@given(st.dictionaries(NAMES, VALUES, max_size=12))
def test_it_writes_what_the_rfc_asks_for(fields):
    assert canonical_json(fields) == rfc8785.dumps(fields)


@pytest.mark.parametrize("value", [2**53, -(2**53), 0.5, None, [], {}, float("nan"), b"x"])
def test_a_value_that_it_is_not_made_for_is_refused(value):
    with pytest.raises(ValueError, match="flat object"):
        canonical_json({"a": value})


def test_names_outside_ascii_are_refused():
    """They sort by UTF-16 in the RFC, by code point here."""
    with pytest.raises(ValueError, match="flat object"):
        canonical_json({"\U0001f600": 1})


def test_half_a_surrogate_is_refused():
    with pytest.raises(ValueError, match="surrogates not allowed"):
        canonical_json({"a": "\ud800"})
