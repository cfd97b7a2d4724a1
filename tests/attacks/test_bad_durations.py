"""Lesson 7: an expiry that is absent, 0, negative, "never", huge, NaN or overflowing is refused or capped by the
server, on every route that takes one (onetimesecret forgot one version of its API).
"""

import json
from datetime import datetime

import pytest

from tests.acceptance.people import ok

NO_DURATIONS = [
    *("", "0", "0s", "0d", "-1", "-0", "+1", "1.5h", "1e3", "1h30m", "1H", "1w", "1y", "P1D", "0x10", "1_0", "1,5"),
    *("never", "forever", "none", "null", "NaN", "nan", "inf", "-inf", "Infinity", "True", "false", "[]", "{}"),
    *(
        " 1h",
        "1h ",
        "1 h",
        "1h\x00",
        "1h\n",
        "1h\r\n",
        "\u0661h",
        "\uff11h",
        "1\u200bh",
        "😀",
        "9" * 10,
        "9" * 5000,
        "1h;2h",
    ),
]
TOO_LONG = ["604801", "10081m", "169h", "8d", "31d", "999999999d", "999999999", "000000008d"]
NO_JSON_DURATIONS = [
    *("true", "false", "0", "-1", "1.0", "1.5", "1e3", "NaN", "Infinity", "-Infinity", "1e999", "[]", "{}", '["1h"]'),
    *("9" * 10, "9" * 400, "9" * 5000, "-" + "9" * 400, '{"days": 7}'),
]


@pytest.fixture
def transfers(house):
    """How many transfers there are, whoever owns them: a refused deposit leaves none."""
    return lambda: house.installation.rows("SELECT count(*) FROM transfers")


def test_send_refuses_what_is_no_duration(staff, transfers):
    before = transfers()
    for text in NO_DURATIONS:
        answer = staff.put("/api/v1/send/a", params={"recipient": "x", "expires_in": text}, content=b"x")
        assert ok(answer, 400)["code"] == "invalid_duration", repr(text)
    for text in TOO_LONG:
        answer = staff.put("/api/v1/send/a", params={"recipient": "x", "expires_in": text}, content=b"x")
        assert ok(answer, 400)["code"] == "lifetime_out_of_range", repr(text)
    assert transfers() == before


def test_opening_a_transfer_refuses_what_is_no_duration(staff, transfers):
    before = transfers()
    for text in NO_DURATIONS:
        answer = staff.post("/api/v1/transfers", json={"expires_in": text})
        assert ok(answer, 400)["code"] == "invalid_duration", repr(text)
    for text in TOO_LONG:
        for value in (text, int(text)) if text.isdigit() else (text,):
            answer = staff.post("/api/v1/transfers", json={"expires_in": value})
            assert ok(answer, 400)["code"] == "lifetime_out_of_range", repr(value)
    assert transfers() == before


def test_opening_a_transfer_refuses_every_other_kind_of_json(staff, transfers):
    before = transfers()
    headers = {"Content-Type": "application/json"}
    for text in NO_JSON_DURATIONS:
        body = f'{{"expires_in": {text}}}'
        answer = staff.post("/api/v1/transfers", content=body, headers=headers)
        assert ok(answer, 400)["code"] in {"invalid_duration", "invalid_request", "lifetime_out_of_range"}, text[:50]
    assert transfers() == before


def test_absent_and_null_mean_the_maximum_and_no_more(staff):
    for body in ({}, {"expires_in": None}):
        opened = ok(staff.post("/api/v1/transfers", json=body), 201)
        shown = ok(staff.get(f"/api/v1/transfers/{opened['id']}"), 200)
        assert shown["created_at"] < shown["expires_at"]
        assert _days(shown) <= 7


def _days(shown):
    created, expires = (datetime.fromisoformat(shown[name]) for name in ("created_at", "expires_at"))
    return (expires - created).total_seconds() / 86_400


def test_a_misspelt_lifetime_never_means_the_maximum(staff, transfers):
    """Whoever asks for one hour and misspells it must not get seven days."""
    before = transfers()
    for name in ("expire_in", "expires", "Expires_in", "expires-in", "lifetime", "ttl"):
        answer = staff.put("/api/v1/send/a", params={"recipient": "x", name: "1h"}, content=b"x")
        assert ok(answer, 400)["code"] == "unknown_query_parameter", name
        assert ok(staff.post("/api/v1/transfers", json={name: "1h"}), 400)["code"] == "invalid_request", name
    assert transfers() == before


def test_several_lifetimes_are_not_chosen_from(staff, transfers):
    before = transfers()
    for query in ("expires_in=1h&expires_in=7d", "expires_in=7d&expires_in=1h", "expires_in=1h&expires_in=never"):
        assert staff.put(f"/api/v1/send/a?recipient=x&{query}", content=b"x").status_code == 400, query
    assert transfers() == before


def test_an_expiry_cannot_be_given_or_moved_by_any_other_way(staff):
    opened = ok(staff.post("/api/v1/transfers", json={"expires_in": "1h"}), 201)
    for body in (
        {"expires_at": "2099-01-01T00:00:00Z"},
        {"expires_in": "1h", "expires_at": "never"},
        {"created_at": 0},
    ):
        assert ok(staff.post("/api/v1/transfers", json=body), 400)["code"] == "invalid_request"
    path = f"/api/v1/transfers/{opened['id']}"
    for method in ("PUT", "PATCH", "POST"):
        assert staff.request(method, path, json={"expires_in": "7d"}).status_code == 405
    shares = {"recipient": "x", "expires_in": "7d"}
    headers = {"Caducee-Client-Key": opened["client_key"]}
    assert ok(staff.post(f"{path}/shares", json=shares, headers=headers), 400)["code"] == "invalid_request"


@pytest.mark.parametrize("text", ["0", "never"])
def test_a_token_is_not_made_with_a_lifetime_that_is_none(house, text):
    before = house.installation.rows("SELECT count(*) FROM access_tokens")
    ran = house.installation.run("token", "create", "x", f"--expires={text}", "--json", code=None)
    assert ran.code in {1, 2}
    assert "cad_" not in ran.out
    assert "Traceback" not in ran.err
    assert house.installation.rows("SELECT count(*) FROM access_tokens") == before


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("CADUCEE_MAX_LIFETIME", "32d"),
        ("CADUCEE_MAX_LIFETIME", "never"),
        ("CADUCEE_MIN_LIFETIME", "0"),
        ("CADUCEE_CLAIM_WINDOW", "P1D"),
    ],
)
def test_no_configuration_takes_the_limits_away(installation, setting, value):
    ran = installation.run("config", "show", "--json", code=2, **{setting.removeprefix("CADUCEE_"): value})
    assert ran.err.startswith("cannot: ")
    assert "Traceback" not in ran.err


def test_the_answers_of_this_file_are_json():
    """The list of JSON durations is what it says: every entry but NaN and its kin is JSON (RFC 8259)."""
    for text in NO_JSON_DURATIONS:
        if len(text) < 4000:
            json.loads(f'{{"expires_in": {text}}}')
