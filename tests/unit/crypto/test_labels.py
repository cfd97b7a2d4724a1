"""Labels bind every key and ciphertext to what it is for: no two uses may ever share one."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from app.crypto.labels import label, salt_of
from app.crypto.token import ID_CHARS

CRYPTO = Path(__file__).parents[3] / "app" / "crypto"
IDS = some.text("ABCabc019-_", min_size=ID_CHARS, max_size=ID_CHARS)
FIELDS = some.lists(IDS | some.integers(0, 2**63), max_size=4)


def purposes() -> set[str]:
    """Every purpose that stands in the code: the first argument of `label`, and `purpose=` of a derivation."""
    calls = [
        node
        for path in CRYPTO.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    firsts = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "label"]
    named = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "purpose"]
    return {str(node.value) for node in [*firsts, *named] if isinstance(node, ast.Constant)}


def test_the_search_finds_purposes_of_both_kinds():
    assert {"file", "share", "share shred", "server part", "tail"} <= purposes()


def test_no_word_of_a_purpose_could_be_an_id():
    """This, and that no field holds a space, is what keeps the labels of two purposes apart."""
    words = [word for purpose in purposes() for word in purpose.split(" ")]
    assert [word for word in words if len(word) == ID_CHARS or word.isdigit()] == []


@given(some.sampled_from(sorted(purposes())), some.sampled_from(sorted(purposes())), FIELDS, FIELDS)
def test_labels_are_equal_only_for_the_same_purpose_and_fields(
    one: str, other: str, fields: list[str | int], others: list[str | int]
):
    same = one == other and [str(each) for each in fields] == [str(each) for each in others]
    assert (label(one, *fields) == label(other, *others)) is same


@pytest.mark.parametrize("field", ["", " ", "a b", "a\tb", "a\nb", "é", "\x00", -1])
def test_what_is_no_id_makes_no_label_and_no_salt(field: str | int):
    with pytest.raises(ValueError, match="label"):
        label("file", field)
    if isinstance(field, str):
        with pytest.raises(ValueError, match="label"):
            salt_of(field)


def test_an_id_that_is_a_word_would_make_the_label_of_another_purpose():
    """`label` does not check lengths, as its docstring says; ids that callers may pass have 22 characters."""
    assert label("share", "shred", "x") == label("share shred", "x")
