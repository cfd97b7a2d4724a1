"""The list of transfers over HTTP: complete, stable while rows come and go, and never another owner's. What staff are
told about their tokens.
"""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from app.actions.issue_access_token import issue_access_token
from app.actions.log_refused_tokens import log_refused_tokens
from app.actions.revoke_access_token import revoke_access_token
from app.db import access_token_rows, transfer_rows
from app.db.tables import transfers
from app.domain.access_token import Role
from app.domain.transfer import TransferState
from tests.attacks.inside import inside
from tests.integration.actions.stories import log_of
from tests.integration.db.rows import a_transfer


@pytest.fixture
def opened(tmp_path):
    with inside(tmp_path) as opened:
        yield opened


def deposit(opened, staff, recipient="ARS"):
    answer = opened.http.put("/api/v1/send/a.csv", params={"recipient": recipient}, content=b"x", headers=staff)
    assert answer.status_code == 201, answer.text
    return answer.json()


def page(opened, staff, **parameters):
    answer = opened.http.get("/api/v1/transfers", params=parameters, headers=staff)
    assert answer.status_code == 200, answer.text
    return answer.json()


def everything(opened, staff, **parameters):
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        answer = page(opened, staff, **parameters, **after)
        found += [one["id"] for one in answer["transfers"]]
        if answer["next"] is None:
            return found
        after = {"after": answer["next"]}


def test_every_transfer_is_on_one_page_exactly_even_if_all_began_at_once(opened):
    staff, colleague = opened.people(), opened.people()
    first = deposit(opened, staff)["transfer_id"]
    with opened.resources.database.writing() as transaction:
        row = transfer_rows.find(transaction.connection, first)
        assert row is not None
        same = {"token_id": row.token_id, "owner": row.owner, "created_at": row.created_at}
        many = {a_transfer(transaction.connection, **same).id for _ in range(600)}
    deposit(opened, colleague)
    found = everything(opened, staff, limit=7)
    assert len(found) == len(set(found))
    assert set(found) == {first, *many}
    assert everything(opened, staff) == found
    assert len(page(opened, staff)["transfers"]) == 500


def test_a_list_goes_on_where_it_was_while_rows_come_and_go(opened):
    staff = opened.people()
    made = [deposit(opened, staff)["transfer_id"] for _ in range(4)]
    first = page(opened, staff, limit=2)
    assert [one["id"] for one in first["transfers"]] == made[:1:-1]
    new = deposit(opened, staff)["transfer_id"]
    assert opened.http.delete(f"/api/v1/transfers/{made[1]}", headers=staff).status_code == 204
    with opened.resources.database.writing() as transaction:  # the very row after which the page began disappears
        moved = transfers.update().where(transfers.c.id == made[2])
        transaction.connection.execute(moved.values(created_at=datetime.now(UTC) + timedelta(days=1)))
    rest = page(opened, staff, limit=2, after=first["next"])
    assert [one["id"] for one in rest["transfers"]] == made[1::-1]
    assert rest["next"] is None
    assert new not in {one["id"] for one in rest["transfers"]}


def test_filters(opened):
    staff = opened.people()
    ars, insurer = deposit(opened, staff, "ARS")["transfer_id"], deposit(opened, staff, "insurer")["transfer_id"]
    opened.http.delete(f"/api/v1/transfers/{ars}", headers=staff)
    assert everything(opened, staff, recipient="ARS") == [ars]
    assert everything(opened, staff, recipient="ars") == []
    assert everything(opened, staff, state="live") == [insurer]
    assert everything(opened, staff, state="denied", recipient="insurer") == []
    assert everything(opened, staff, since="2020-01-01") == [insurer, ars]
    assert everything(opened, staff, since="2099-01-01") == []
    assert everything(opened, opened.people(), recipient="ARS") == [], "another owner"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("state=lively", "invalid_request"),
        ("state=", "invalid_request"),
        ("recipient=", "invalid_request"),
        ("recipient=a%00b", "invalid_request"),
        ("recipient=" + "x" * 201, "invalid_request"),
        ("since=yesterday", "invalid_time"),
        ("since=2026-02-30", "invalid_time"),
        ("since=" + "2" * 50, "invalid_request"),
        ("limit=0", "invalid_request"),
        ("limit=501", "invalid_request"),
        ("limit=ten", "invalid_request"),
        ("after=x", "invalid_request"),
        ("after=", "invalid_request"),
        ("after=99999999999999999." + "A" * 22, ""),
        ("after=999999999999999999." + "A" * 22, "invalid_request"),
        ("after=%D9%A1." + "A" * 22, "invalid_request"),
        ("sate=live", "unknown_query_parameter"),
        ("owner=token:other", "unknown_query_parameter"),
        ("state=live&state=denied", "invalid_request"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(opened, query, code):
    answer = opened.http.get(f"/api/v1/transfers?{query}", headers=opened.people())
    assert (answer.status_code, answer.json().get("code", "")) == (400 if code else 200, code), answer.text


def test_a_reason_is_one_of_five_words_and_stands_in_the_log_with_the_address(opened):
    staff = opened.people()
    made = deposit(opened, staff)
    for path in (f"/api/v1/shares/{made['share_id']}", f"/api/v1/transfers/{made['transfer_id']}"):
        for query in ("reason=patient%20Dupont", "reason=", "why=test", "reason=test&reason=other"):
            refused = opened.http.delete(f"{path}?{query}", headers=staff)
            expected = "unknown_query_parameter" if query == "why=test" else "invalid_request"
            assert (refused.status_code, refused.json()["code"]) == (400, expected)
        assert opened.http.delete(f"{path}?reason=mistake", headers=staff).status_code == 204
    for event in ("share.withdrawn", "transfer.denied"):
        (entry,) = log_of(opened.resources, event=event)
        assert (entry["reason"], entry["address"]) == ("mistake", "unknown")
        assert "operator" not in entry
    for event in ("transfer.created", "file.deposited", "share.issued"):
        assert log_of(opened.resources, event=event)[0]["address"] == "unknown"


def test_states_that_can_be_asked_for_are_those_of_transfers(opened):
    for state in TransferState:
        assert page(opened, opened.people(Role.ADMIN), state=state.value) == {"transfers": [], "next": None}


def test_every_response_to_a_token_that_ends_soon_says_so(opened):
    """Refusals too, and never to anybody else."""
    issue = partial(issue_access_token, opened.resources, role=Role.STAFF)
    soon, later = issue(name="soon", lifetime=timedelta(days=13)), issue(name="later", lifetime=timedelta(days=15))
    warned = {"Authorization": f"Bearer {soon.token}"}
    for method, path, status in (("GET", "me", 200), ("GET", "transfers/x", 404), ("GET", "audit/log", 403)):
        answer = opened.http.request(method, f"/api/v1/{path}", headers=warned)
        expires = f"{soon.row.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        assert (answer.status_code, answer.headers["caducee-token-expires"]) == (status, expires)
    answer = opened.http.get("/api/v1/me", headers={"Authorization": f"Bearer {later.token}"})
    assert "caducee-token-expires" not in answer.headers


def test_refused_tokens_are_counted_and_requests_without_one_are_not(opened):
    revoked = opened.people()
    with opened.resources.database.reading() as connection:
        (row,) = access_token_rows.every(connection)
    revoke_access_token(opened.resources.database, opened.resources.clock, row.id)
    for headers in (revoked, {"Authorization": "Bearer cad_x"}, {}, {"Authorization": "Bearer cad_" + "A" * 43}):
        assert opened.http.get("/api/v1/me", headers=headers).status_code == 401
    assert log_refused_tokens(opened.resources) == 3
    assert log_of(opened.resources, event="tokens.refused")[0]["addresses"] == "unknown=3"
