"""What a depositor types or pastes, as the client reads it."""

import pytest

from app.client.errors import NotConfigured
from app.client.http_calls import Service
from app.client.sending import Request


def test_recipients_are_named_as_the_service_lists_them():
    """Otherwise a send that goes on would not find the share of an earlier run, and issue a second one."""
    assert Request([], ["CPAM\u00a0 75\u200b"]).recipients == ["CPAM 75"]


@pytest.mark.parametrize("around", ["{}\u00a0", "\u200b{}", "{} ", "Bearer {}"])
def test_a_token_with_a_character_that_cannot_be_in_one_is_named_and_not_shown(monkeypatch, around):
    monkeypatch.setenv("CADUCEE_SERVER", "https://host.example")
    monkeypatch.setenv("CADUCEE_TOKEN", around.format("cad_secret"))
    with pytest.raises(NotConfigured, match=r"CADUCEE_TOKEN .* copy it again") as refused:
        Service.from_environment()
    assert "cad_secret" not in str(refused.value)
