"""The depositor's half of the HTTP contract: send, transfers, files, shares, lists, deletion, oneself."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from tests.acceptance.people import (
    add_file,
    claim,
    issue,
    key_header,
    look,
    ok,
    open_transfer,
    send,
    try_claim,
    wrong_password,
    wrong_secret,
)
from tests.acceptance.service import until

ID = r"[A-Za-z0-9_-]{22}"
SECRET = r"[A-Za-z0-9_-]{43}"
PASSWORD = r"[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){3}"
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def moment(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def test_send_deposits_one_file_and_issues_one_share(staff, server):
    answer = staff.put("/api/v1/send/r%C3%A9sultats.csv?expires_in=2h&recipient=ARS", content=b"a;b\n")
    sent = ok(answer, 201)
    members = {"transfer_id", "client_key", "share_id", "link", "password", "expires_at", "name", "size"}
    assert set(sent) == members
    assert re.fullmatch(ID, sent["transfer_id"])
    assert re.fullmatch(ID, sent["share_id"])
    assert re.fullmatch(SECRET, sent["client_key"])
    assert re.fullmatch(PASSWORD, sent["password"])
    assert re.fullmatch(MOMENT, sent["expires_at"])
    assert re.fullmatch(re.escape(f"{server.origin}/s/{sent['share_id']}#") + SECRET, sent["link"])
    assert (sent["name"], sent["size"]) == ("résultats.csv", 4)
    assert abs(moment(sent["expires_at"]) - datetime.now(UTC) - timedelta(hours=2)) < timedelta(seconds=30)


def test_send_without_a_lifetime_means_the_maximum(staff):
    sent = ok(staff.put("/api/v1/send/a?recipient=ARS", content=b"x"), 201)
    left = moment(sent["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)


@pytest.mark.parametrize("name", ["résultats d'été 😀.csv", "50% +1.txt", "a&b=c?.bin", "%2e%2e", "#1.csv", ".profile"])
def test_the_name_travels_in_the_header_as_well_as_in_the_path(staff, anyone, name):
    header = {"Caducee-File-Name": quote(name, safe="")}
    by_header = ok(staff.put("/api/v1/send?recipient=ARS", content=b"x", headers=header), 201)
    by_path = ok(staff.put(f"/api/v1/send/{quote(name, safe='')}?recipient=ARS", content=b"x"), 201)
    for sent in (by_header, by_path):
        body = {"link_secret": sent["link"].partition("#")[2], "password": sent["password"]}
        claimed = ok(anyone.post(f"/api/v1/shares/{sent['share_id']}/claim", json=body), 200)
        assert claimed["files"][0]["name"] == name


def test_a_file_added_by_header_name_and_with_a_type_keeps_both(staff, anyone):
    transfer, key = open_transfer(staff)
    headers = key_header(key) | {
        "Caducee-File-Name": "bilan%20%C3%A9t%C3%A9.pdf",
        "Content-Type": "Application/PDF; a=b",
    }
    added = ok(staff.put(f"/api/v1/transfers/{transfer}/files", content=b"%PDF", headers=headers), 201)
    assert added == {"number": 0, "size": 4, "name": "bilan été.pdf"}
    file = claim(anyone, issue(staff, transfer, key)).answer["files"][0]
    assert (file["name"], file["type"]) == ("bilan été.pdf", "application/pdf")


@pytest.mark.parametrize(
    ("asked", "language", "heading"),
    [
        ("fr-FR,fr;q=0.9,en;q=0.1", "fr", "À envoyer par courriel"),
        ("en", "en", "Send this by mail"),
        ("de", "en", "Send this by mail"),
        ("en;q=0.2, fr;q=0.8", "fr", "À dire par téléphone"),
    ],
)
def test_plain_text_is_blocks_to_paste_in_the_language_asked_for(staff, asked, language, heading):
    """Their content: `test_pasteable_answer.py`."""
    headers = {"Accept": "text/plain", "Accept-Language": asked}
    answer = staff.put("/api/v1/send/a?recipient=ARS&expires_in=1h", content=b"x", headers=headers)
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-language"] == language
    assert heading in answer.text


def test_a_share_answers_plain_text_too(staff):
    transfer, key = open_transfer(staff)
    ok(add_file(staff, transfer, key, b"x"), 201)
    headers = key_header(key) | {"Accept": "text/plain", "Accept-Language": "fr"}
    answer = staff.post(f"/api/v1/transfers/{transfer}/shares", json={"recipient": "ARS"}, headers=headers)
    assert answer.status_code == 201
    assert "À dire par téléphone" in answer.text


def test_a_transfer_opens_takes_files_and_closes_with_its_first_share(staff):
    opened = ok(staff.post("/api/v1/transfers", json={"expires_in": "30m", "label": "Labo"}), 201)
    assert set(opened) == {"id", "client_key", "expires_at"}
    transfer, key = opened["id"], opened["client_key"]
    path = f"/api/v1/transfers/{transfer}/shares"
    assert ok(staff.post(path, json={"recipient": "ARS"}, headers=key_header(key)), 409)["code"] == "transfer_empty"
    assert [ok(add_file(staff, transfer, key, bytes(n)), 201) for n in (3, 1)] == [
        {"number": 0, "size": 3, "name": "a.bin"},
        {"number": 1, "size": 1, "name": "a.bin"},
    ]
    shares = [issue(staff, transfer, key, who) for who in ("ARS", "CPAM")]
    assert shares[0].password != shares[1].password
    assert ok(add_file(staff, transfer, key, b"late"), 409)["code"] == "transfer_closed"


def test_a_client_key_of_ones_own_is_used_and_not_repeated(staff):
    key = wrong_secret()
    opened = ok(staff.post("/api/v1/transfers", json={}, headers=key_header(key)), 201)
    assert set(opened) == {"id", "expires_at"}
    ok(add_file(staff, opened["id"], key, b"x"), 201)
    sent = ok(staff.put("/api/v1/send/a?recipient=ARS", content=b"x", headers=key_header(key)), 201)
    assert "client_key" not in sent


def test_a_share_waits_for_uploads_under_way(staff):
    transfer, key = open_transfer(staff)
    ok(add_file(staff, transfer, key, b"whole"), 201)
    refused = []

    def slowly():
        yield b"first"
        path = f"/api/v1/transfers/{transfer}"
        until(lambda: len(ok(staff.get(path), 200)["files"]) == 2, what="the upload")
        refused.append(
            staff.post(f"/api/v1/transfers/{transfer}/shares", json={"recipient": "ARS"}, headers=key_header(key))
        )
        yield b"last"

    assert ok(add_file(staff, transfer, key, slowly()), 201)["size"] == 9
    assert ok(refused[0], 409)["code"] == "upload_unfinished"


def test_lists_show_states_and_never_names(staff, anyone):
    first = send(staff, b"12345", "DUPONT_VIH.csv", label="Labo", purpose="soins", records=7, keep_until_expiry=True)
    second = issue(staff, first.transfer_id, first.client_key, "ARS")
    ok(try_claim(anyone, second, password=wrong_password()), 401)
    claim(anyone, first).get()
    path = f"/api/v1/transfers/{first.transfer_id}"
    until(lambda: ok(staff.get(path), 200)["shares"][0]["bytes_served"] == 5, what="the count of what was sent")
    shown = ok(staff.get(path), 200)
    assert shown in ok(staff.get("/api/v1/transfers"), 200)["transfers"]
    names = ("state", "label", "purpose", "records", "keep_until_expiry", "sealed", "size")
    assert {name: shown[name] for name in names} == {
        "state": "live",
        "label": "Labo",
        "purpose": "soins",
        "records": 7,
        "keep_until_expiry": True,
        "sealed": False,
        "size": 5,
    }
    assert shown["files"] == [{"number": 0, "size": 5, "state": "live"}]
    states = {share["id"]: (share["state"], share["attempts_left"], share["recipient"]) for share in shown["shares"]}
    assert states == {first.id: ("claimed", 5, "CPAM 75"), second.id: ("issued", 4, "ARS")}
    assert "DUPONT" not in str(shown)


def test_deleting_a_transfer_ends_its_shares_at_once_and_is_idempotent(house, staff, anyone):
    share = send(staff)
    held = claim(anyone, issue(staff, share.transfer_id, share.client_key))
    keys = [path for path in house.installation.key_files() if share.transfer_id in path.name]
    assert len(keys) == 4, "of the transfer, of two shares, and the record that one was claimed"
    assert [staff.delete(f"/api/v1/transfers/{share.transfer_id}").status_code for _ in range(2)] == [204, 204]
    assert not any(path.exists() for path in keys), "the keys go before the answer"
    assert ok(try_claim(anyone, share), 410)["code"] == "share_withdrawn"
    assert ok(held.get(), 410)["code"] == "share_withdrawn"
    shown = until(lambda: _ended(staff, share.transfer_id), what="the deletion")
    assert (shown["state"], shown["ending"]) == ("verified", "deleted")
    assert ok(add_file(staff, share.transfer_id, share.client_key, b"x"), 410)["code"] == "transfer_ended"


def _ended(staff, transfer):
    shown = ok(staff.get(f"/api/v1/transfers/{transfer}"), 200)
    return shown if shown["deleted_at"] else None


def test_a_withdrawn_share_is_gone_the_transfer_stays_and_another_can_be_issued(staff, anyone):
    share = send(staff, b"again")
    assert [staff.delete(f"/api/v1/shares/{share.id}").status_code for _ in range(2)] == [204, 204]
    assert ok(try_claim(anyone, share), 410)["code"] == "share_withdrawn"
    assert look(anyone, share)["state"] == "withdrawn"
    another = issue(staff, share.transfer_id, share.client_key)
    assert claim(anyone, another).get().content == b"again"


def test_completing_the_last_open_share_deletes_the_transfer_unless_it_is_to_be_kept(staff, anyone):
    gone, kept, waiting = send(staff), send(staff, keep_until_expiry=True), send(staff)
    issue(staff, waiting.transfer_id, waiting.client_key)
    for share in (gone, kept, waiting):
        assert claim(anyone, share).complete().status_code == 204
    assert until(lambda: _ended(staff, gone.transfer_id))["ending"] == "completed"
    for share in (kept, waiting):
        shown = ok(staff.get(f"/api/v1/transfers/{share.transfer_id}"), 200)
        assert (shown["state"], shown["shares"][0]["state"]) == ("live", "completed")


def test_me_says_who_one_is(house, server):
    for name, role in (("staff", "staff"), ("auditor", "auditor"), ("admin", "admin")):
        with server.http(house.tokens[name]) as http:
            me = ok(http.get("/api/v1/me"), 200)
        assert (me["name"], me["role"], me["expires_at"]) == (name, role, None)
        assert re.fullmatch(ID, me["id"])


def test_the_description_of_the_interface_is_for_callers_only(staff, anyone):
    assert ok(anyone.get("/api/v1/openapi.json"), 401)["code"] == "not_authenticated"
    described = ok(staff.get("/api/v1/openapi.json"), 200)
    assert "/api/v1/shares/{share_id}/claim" in described["paths"]


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({}, "invalid_request"),
        ({"recipient": ""}, "invalid_request"),
        ({"recipient": "x" * 201}, "invalid_request"),
        ({"recipient": "two\nlines"}, "invalid_request"),
        ({"recipient": "ARS", "label": "x" * 201}, "invalid_request"),
        ({"recipient": "ARS", "purpose": "curiosity"}, "invalid_request"),
        ({"recipient": "ARS", "records": "many"}, "invalid_request"),
        ({"recipient": "ARS", "records": "-1"}, "invalid_request"),
        ({"recipient": "ARS", "records": "9" * 30}, "invalid_request"),
        ({"recipient": "ARS", "keep_until_expiry": "perhaps"}, "invalid_request"),
        ({"recipient": "ARS", "expires_in": "8d"}, "lifetime_out_of_range"),
    ],
)
def test_send_refuses_terms_it_does_not_understand(staff, parameters, code):
    before = len(ok(staff.get("/api/v1/transfers"), 200)["transfers"])
    assert ok(staff.put("/api/v1/send/a", params=parameters, content=b"x"), 400)["code"] == code
    assert len(ok(staff.get("/api/v1/transfers"), 200)["transfers"]) == before


def test_a_recipient_pasted_from_a_message_is_stored_and_found_as_it_is_read(staff):
    """Names that look alike are equal, wherever one is taken in or searched for."""
    pasted, typed = "\u200bHo\u0302pital\u00a0\u202f Be\u0301gin", "H\u00f4pital B\u00e9gin"
    sent = ok(staff.put("/api/v1/send/a.txt", params={"recipient": pasted, "label": pasted}, content=b"x"), 201)
    again = {"json": {"recipient": pasted}, "headers": key_header(sent["client_key"])}
    ok(staff.post(f"/api/v1/transfers/{sent['transfer_id']}/shares", **again), 201)
    for name in (pasted, typed):
        (found,) = ok(staff.get("/api/v1/transfers", params={"recipient": name}), 200)["transfers"]
        assert (found["id"], found["label"]) == (sent["transfer_id"], typed)
        assert [share["recipient"] for share in found["shares"]] == [typed, typed]
