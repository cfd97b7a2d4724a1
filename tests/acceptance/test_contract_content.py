"""The one-line route: claim and stream in one call, one file as it is or several as a ZIP."""

import io
import secrets
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.crypto.token import new_id
from tests.acceptance.independent_client import to_text
from tests.acceptance.people import (
    add_file,
    bearer,
    issue,
    look,
    ok,
    open_transfer,
    send,
    wrong_password,
    wrong_secret,
)
from tests.acceptance.service import until


def content_of(share):
    return f"/api/v1/shares/{share.id}/content"


def test_one_file_comes_as_it_is_under_its_name(staff, anyone):
    share = send(staff, b"a;b\n", "résultats.csv")
    answer = anyone.post(content_of(share), auth=share.basic)
    assert (answer.status_code, answer.content) == (200, b"a;b\n")
    assert answer.headers["content-length"] == "4"
    disposition = "attachment; filename=\"resultats.csv\"; filename*=UTF-8''r%C3%A9sultats.csv"
    assert answer.headers["content-disposition"] == disposition


def test_several_files_come_as_a_zip_that_any_program_opens(staff, anyone):
    transfer, key = open_transfer(staff)
    long = "é" * 125 + ".csv"
    names = ["bilan.pdf", "bilan.pdf", "BILAN.PDF", "été 😀.csv", "vide", ".profile", ".profile", long, long]
    contents = [bytes([number]) * number * 40_000 for number in range(len(names))]
    for name, content in zip(names, contents, strict=True):
        ok(add_file(staff, transfer, key, content, name, allow_empty=True), 201)
    share = issue(staff, transfer, key)
    answer = anyone.post(content_of(share), auth=share.basic)
    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len(answer.content))
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert [archive.read(entry) for entry in archive.infolist()] == contents
        stored = archive.namelist()
    assert stored[:4] == ["bilan.pdf", "bilan (2).pdf", "BILAN (3).PDF", "été 😀.csv"]
    assert len({name.casefold() for name in stored}) == len(names), "some file systems ignore case"
    assert max(len(name.encode()) for name in stored) <= 200, "and none takes a longer path"
    assert stored[5:7] == ["profile", "profile (2)"]


def test_it_never_completes_by_itself_but_its_last_byte_shortens_the_window(house, staff, anyone):
    share = send(staff, b"0123456789")
    answer = anyone.post(content_of(share), auth=share.basic)
    claim_id, _, token = answer.headers["caducee-claim"].partition(".")
    assert look(anyone, share)["state"] == "claimed"

    def left():
        (window,) = house.installation.rows("SELECT window_until FROM claims WHERE id = ?", claim_id)[0]
        return datetime.fromtimestamp(window / 1e6, UTC) - datetime.now(UTC)

    until(lambda: left() <= timedelta(minutes=5), what="the shorter window")
    assert left() > timedelta(minutes=4)
    resumed = anyone.get(f"/api/v1/claims/{claim_id}/files/0", headers=bearer(token) | {"Range": "bytes=5-"})
    assert (resumed.status_code, resumed.content) == (206, b"56789")
    assert left() <= timedelta(minutes=5), "resuming does not lengthen it again"
    assert anyone.post(f"/api/v1/claims/{claim_id}/complete", headers=bearer(token)).status_code == 204


def test_a_delivered_share_ends_as_completed_when_its_window_closes(installation):
    with installation.serving(CLAIM_WINDOW="2s") as server, server.http(installation.token()) as http:
        delivered, fetched = send(http), send(http)
        claim_id = http.post(content_of(delivered), auth=delivered.basic).headers["caducee-claim"].partition(".")[0]
        body = {"link_secret": fetched.secret, "password": fetched.password}
        ok(http.post(f"/api/v1/shares/{fetched.id}/claim", json=body), 200)
        assert installation.alter("UPDATE claims SET window_until = claimed_at WHERE id = ?", claim_id) == 1
        assert installation.alter("UPDATE transfers SET due_at = 0") == 2
        from tests.acceptance.service import until

        assert (
            until(lambda: look(http, delivered)["state"] != "claimed" and look(http, delivered))["state"] == "completed"
        )
        assert until(lambda: look(http, fetched)["state"] != "claimed" and look(http, fetched))["state"] == "lapsed"


def test_a_second_call_gets_nothing_not_even_by_the_winner(staff, anyone):
    share = send(staff)
    assert anyone.post(content_of(share), auth=share.basic).status_code == 200
    assert ok(anyone.post(content_of(share), auth=share.basic), 410)["code"] == "share_used"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT"])
def test_only_post_is_taken(staff, anyone, method):
    share = send(staff)
    assert anyone.request(method, content_of(share), auth=share.basic).status_code == 405
    assert look(anyone, share)["state"] == "issued"


def test_wrong_credentials_are_refused_like_everywhere(staff, anyone):
    share = send(staff)
    wrong = anyone.post(content_of(share), auth=("link", f"{share.secret}.{wrong_password()}"))
    assert ok(wrong, 401)["attempts_left"] == 4
    wrong = anyone.post(content_of(share), auth=("link", f"{wrong_secret()}.{share.password}"))
    assert ok(wrong, 404)["code"] == "share_not_found"
    assert look(anyone, share)["attempts_left"] == 4


CHALLENGE = 'Basic realm="Caducee"'


@pytest.mark.parametrize("known", [True, False])
def test_without_credentials_it_asks_for_them_whatever_the_id(staff, anyone, known):
    """wget, `curl --anyauth` and PowerShell send none before they were asked; a browser would open a dialog."""
    share = send(staff)
    address = content_of(share if known else replace(share, id=new_id()))
    for sent in (
        {},
        {"Authorization": "Basic !!!"},
        {"Authorization": b"Basic \xff\xff"},
        {"Authorization": f"Bearer {share.secret}"},
        {"auth": (share.secret, share.password)},  # the secret as user name: proxies would log it
        {"auth": ("link", share.password)},
    ):
        asked = {"auth": sent["auth"]} if "auth" in sent else {"headers": sent}
        answer = anyone.post(address, **asked)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, CHALLENGE)
        assert answer.json()["code"] == "link_credentials_required"
    answer = anyone.post(address, headers={"Sec-Fetch-Mode": "navigate"})
    assert (answer.status_code, "www-authenticate" in answer.headers) == (401, False)
    assert look(anyone, share)["attempts_left"] == 5


def test_with_a_token_of_its_own_the_request_can_be_repeated_and_resumed(staff, anyone):
    share = send(staff, b"0123456789", "a.txt")
    token = {"Caducee-Claim-Token": to_text(secrets.token_bytes(32))}
    first = anyone.post(content_of(share), auth=share.basic, headers=token)
    again = anyone.post(content_of(share), auth=share.basic, headers=token)
    assert (first.content, again.content) == (b"0123456789", b"0123456789")
    assert first.headers["caducee-claim"] == again.headers["caducee-claim"]
    rest = anyone.post(content_of(share), auth=share.basic, headers=token | {"Range": "bytes=7-"})
    assert (rest.status_code, rest.content, rest.headers["content-range"]) == (206, b"789", "bytes 7-9/10")
    stale = token | {"Range": "bytes=7-", "If-Range": '"another"'}
    assert anyone.post(content_of(share), auth=share.basic, headers=stale).status_code == 200
    other = {"Caducee-Claim-Token": to_text(secrets.token_bytes(32))}
    for headers in ({}, other):
        refused = anyone.post(content_of(share), auth=share.basic, headers=headers)
        assert ok(refused, 410)["code"] == "share_used"


@pytest.mark.parametrize("token", ["", "x", "A" * 42, "A" * 44, "é" * 43])
def test_a_malformed_token_redeems_nothing(staff, anyone, token):
    share = send(staff)
    headers = {"Caducee-Claim-Token": token.encode()}
    refused = anyone.post(content_of(share), auth=share.basic, headers=headers)
    assert ok(refused, 400)["code"] == "invalid_request"
    assert look(anyone, share)["state"] == "issued"
