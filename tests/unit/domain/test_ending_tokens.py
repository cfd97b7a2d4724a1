"""Warnings about access tokens that end: none about one that a longer one of its owner replaces."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.domain.finding import Level, ending_unreplaced, of_checkpoint, of_tokens

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass
class Issued:
    name: str
    owner: str
    expires_at: datetime | None
    revoked_at: datetime | None = None


def ending_in(days, owner="o", **more):
    return Issued("t", owner, NOW + timedelta(days=days), **more)


def test_the_list_and_doctor_warn_alike():
    longer = Issued("t", "o", None)
    for tokens, soon in (
        ([ending_in(3)], 1),
        ([ending_in(3), ending_in(90)], 0),
        ([ending_in(3), longer], 0),
        ([ending_in(3), ending_in(90, owner="other")], 1),
        ([ending_in(3), ending_in(90, revoked_at=NOW)], 1),
        ([ending_in(-1)], 0),
    ):
        assert ending_unreplaced(tokens, NOW) == soon, tokens
        if tokens[0].expires_at > NOW:
            assert sum(each.level is Level.WEAK for each in of_tokens(tokens, NOW)) == soon, tokens


def test_one_entry_is_one_entry():
    assert of_checkpoint(NOW, 1, NOW).detail.endswith("over 1 entry")
