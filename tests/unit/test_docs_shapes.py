"""The objects that docs/http-api.md and docs/protocol.md show have the members of those that the service accepts and
returns.
"""

from __future__ import annotations

import inspect
import re

import pytest
from pydantic import BaseModel

from app.web import schemas
from tests.unit.docs_tables import page

MODELS = [each for _, each in inspect.getmembers(schemas, inspect.isclass) if issubclass(each, BaseModel)]

_OBJECT = re.compile(r"\{[^{}]*\}")
_MEMBER = re.compile(r"\"?([a-z_]+)\"?\??(?=\s*[,}:])")


def shapes(text: str) -> list[frozenset[str]]:
    """The members of every object in code that is written out, with values or without; `{x}` in a path is none."""
    fences = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    bare = [_without_values(re.sub(r"/\{\w+\}", "", piece)) for piece in [*fences, *inline]]
    found = [frozenset(_MEMBER.findall(shape)) for piece in bare for shape in _OBJECT.findall(piece)]
    return [shape for shape in found if shape]


def _without_values(code: str) -> str:
    return re.sub(r":\s*(?:\[.*?\]|\"[^\"]*\"|[^,}\s]+)", "", code, flags=re.DOTALL)


def fits(shape: frozenset[str]) -> bool:
    """Whether some object has these members: none that it lacks, and all that it must have."""
    return any(
        shape <= set(model.model_fields)
        and {name for name, field in model.model_fields.items() if field.is_required()} <= shape
        for model in MODELS
    )


def documented() -> list[frozenset[str]]:
    """All but the audit's, which answers what commands print, and the encrypted metadata, which is none of them."""
    api = page("docs/http-api.md").partition("\n## Audit\n")[0]
    protocol = page("docs/protocol.md").partition("\n## Worked example\n")[0]
    return sorted(set(shapes(api) + shapes(protocol)), key=sorted)


def test_reader_finds_members_with_values_and_without():
    text = (
        '`{id, size?}`\n```json\n{"id": "…", "files": [{"number": 0}], "size": 1}\n```\n`PUT /x/{id}` `{"a": "…", …}`'
    )
    assert set(shapes(text)) == {frozenset({"id", "size"}), frozenset({"id", "files", "size"}), frozenset({"a"})}


def test_checker_refuses_what_no_object_has():
    assert fits(frozenset({"number", "size"}))
    assert not fits(frozenset({"number", "size", "colour"}))
    assert not fits(frozenset({"number"}))


def test_enough_is_documented_to_be_compared():
    assert len(documented()) > 10


@pytest.mark.parametrize("shape", documented(), ids=lambda shape: "-".join(sorted(shape)))
def test_every_object_that_is_shown_is_one_of_the_service(shape: frozenset[str]):
    assert fits(shape)
