"""The DPO's week with nothing but an access token: pages, proofs and the whole log, for programs and for a browser."""

import json
import re

import pytest

from app.actions.verify_consistency import verify_consistency
from tests.acceptance.people import bearer, claim, ok, send
from tests.acceptance.service import until

PAGE = {"Accept": "text/html,application/xhtml+xml"}
REPORTS = ["retention", "exposure", "deliveries", "checkpoint"]
PERIOD = {"from": "2020-01-01", "to": "2099-12-31"}


@pytest.fixture
def auditor(house):
    with house.server.http(house.tokens["auditor"]) as client:
        until(lambda: client.get("/api/v1/audit/checkpoint").status_code == 200, what="the first checkpoint")
        yield client


@pytest.fixture
def typed(house):
    """What an auditor types into the form."""
    return {"token": house.tokens["auditor"], "lang": "fr", "from": "2020-01-01", "to": "", "kept": "", "transfer": ""}


def asked(report: str) -> dict[str, str]:
    return PERIOD if report in {"exposure", "deliveries"} else {}


@pytest.mark.parametrize("report", REPORTS)
def test_each_report_is_a_document_for_programs_and_a_page_for_people(auditor, report):
    path = f"/api/v1/audit/{report}"
    assert isinstance(ok(auditor.get(path, params=asked(report)), 200), dict)
    for language in ("fr", "en"):
        page = auditor.get(path, params=asked(report), headers=PAGE | {"Accept-Language": language})
        assert (page.status_code, page.headers["content-language"]) == (200, language)
        assert f'<html lang="{language}">' in page.text
        assert page.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "sandbox" in page.headers["content-security-policy"]
    chosen = auditor.get(path, params={**asked(report), "lang": "fr"}, headers=PAGE | {"Accept-Language": "en"})
    assert chosen.headers["content-language"] == "fr"
    wrong = auditor.get(path, params={**asked(report), "lang": "de"}, headers=PAGE)
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_request")


def test_command_and_route_report_the_same_figures(house, staff, anyone, auditor):
    """One function makes each report."""
    held = claim(anyone, send(staff))
    held.get()
    held.complete()
    for report in ("exposure", "deliveries"):
        answered = ok(auditor.get(f"/api/v1/audit/{report}", params=PERIOD), 200)
        printed = house.installation.run("audit", report, "--from", PERIOD["from"], "--to", PERIOD["to"], "--json").json
        changing = {"at", "entries", "evidence", "refused_links"}
        assert set(answered) == set(printed)
        if report == "deliveries":
            assert {k: v for k, v in answered.items() if k not in changing} == {
                k: v for k, v in printed.items() if k not in changing
            }
        assert answered["evidence"]["version"] == printed["evidence"]["version"]
        assert answered["evidence"]["checkpoint"]["origin"] == printed["evidence"]["checkpoint"]["origin"]


def test_the_log_is_exported_whole_and_verifies(house, staff, auditor, tmp_path):
    send(staff)
    key = house.installation.run("audit", "checkpoint", "--json").json["public_key"]
    (tmp_path / "log.pub").write_text(key)
    with auditor.stream("GET", "/api/v1/audit/export") as answer:
        assert answer.headers["content-disposition"] == 'attachment; filename="caducee-log.jsonl"'
        lines = list(answer.iter_lines())
    assert (json.loads(lines[0])["kind"], json.loads(lines[-1])["kind"]) == ("log", "end")
    (tmp_path / "log.jsonl").write_text("\n".join([*lines, ""]), "utf-8")
    check = ("--export", str(tmp_path / "log.jsonl"), "--public-key", str(tmp_path / "log.pub"))
    assert house.installation.run("audit", "verify", *check).out.startswith("verified: ")


def test_consistency_since_a_kept_checkpoint_is_proved(staff, auditor):
    kept = ok(auditor.get("/api/v1/audit/checkpoint"), 200)
    note, key = kept["note"], kept["public_key"]
    ok(staff.delete(f"/api/v1/transfers/{send(staff).transfer_id}"), 204)
    until(lambda: auditor.get("/api/v1/audit/checkpoint").json()["note"] != note, what="the next checkpoint")
    found = ok(auditor.post("/api/v1/audit/consistency", content=note.encode()), 200)
    assert (found["outcome"], found["verified"]) == ("consistent", True)
    verdict = verify_consistency(found["proof"], note, key)
    assert verdict.kept_size < verdict.size
    altered = re.sub(r"\n(\d+)\n", lambda size: f"\n{int(size[1]) - 1}\n", note, count=1)
    refuted = ok(auditor.post("/api/v1/audit/consistency", content=altered.encode()), 200)
    assert (refuted["outcome"], refuted["verified"], refuted["proof"]) == ("not_signed", False, None)
    for body in (b"", b"nonsense", b"\xff"):
        assert ok(auditor.post("/api/v1/audit/consistency", content=body), 400)["code"] == "invalid_request"
    assert ok(auditor.post("/api/v1/audit/consistency", content=b"x" * 70_000), 413)["code"] == "too_large"
    page = auditor.post("/api/v1/audit/consistency", content=note.encode(), headers=PAGE | {"Accept-Language": "fr"})
    assert "Cohérent" in page.text


# --- a browser


def test_the_form_is_the_same_for_everyone_and_can_send_only_to_its_own_origin(anyone, auditor):
    for language in ("fr", "en"):
        answers = [client.get("/audit", params={"lang": language}) for client in (anyone, auditor)]
        assert answers[0].text == answers[1].text
        policy = answers[0].headers["content-security-policy"]
        assert "form-action 'self'" in policy
        assert "script-src" not in policy
        assert "<script" not in answers[0].text
        assert 'type="password"' in answers[0].text
        assert "set-cookie" not in answers[0].headers


@pytest.mark.parametrize("report", REPORTS)
def test_a_form_gets_the_page_that_the_token_gets(anyone, auditor, typed, report):
    headers = PAGE | {"Sec-Fetch-Site": "same-origin"}
    page = anyone.post(f"/audit/{report}", data=typed, headers=headers)
    assert (page.status_code, page.headers["content-language"]) == (200, "fr")
    assert "set-cookie" not in page.headers
    asked_for = {**asked(report), "lang": "fr"}
    same = auditor.get(f"/api/v1/audit/{report}", params=asked_for, headers=PAGE)
    title = re.compile(r"<title>(.*?)</title>")
    assert title.findall(page.text) == title.findall(same.text)


def test_a_form_exports_and_compares_and_certifies(house, staff, anyone, typed):
    share = send(staff)
    ok(staff.delete(f"/api/v1/transfers/{share.transfer_id}"), 204)
    note = house.installation.run("audit", "checkpoint", "--json").json["note"]
    exported = anyone.post("/audit/export", data=typed)
    assert json.loads(exported.text.splitlines()[-1])["kind"] == "end"
    compared = anyone.post("/audit/consistency", data=typed | {"kept": note.replace("\n", "\r\n")})
    assert "Cohérent" in compared.text
    certified = until(
        lambda: (
            (got := anyone.post("/audit/certificate", data=typed | {"transfer": share.transfer_id})).status_code == 200
            and got
        ),
        what="a certificate",
    )
    assert "Certificat de destruction" in certified.text
    receipt = anyone.post("/audit/receipt", data=typed | {"transfer": share.transfer_id})
    assert receipt.text.startswith("c2sp.org/tlog-proof@v1\n")


def test_a_refused_form_is_a_page_with_a_code_in_its_language(house, staff, anyone, typed):
    held = send(staff).transfer_id
    for report, changed, status, code in (
        ("retention", {"token": "cad_wrong"}, 401, "not_authenticated"),
        ("retention", {"token": ""}, 401, "not_authenticated"),
        ("retention", {"token": house.tokens["staff"]}, 403, "not_allowed"),
        ("exposure", {"from": ""}, 400, "invalid_request"),
        ("exposure", {"from": "tomorrow"}, 400, "invalid_time"),
        ("certificate", {"transfer": "x"}, 404, "transfer_not_found"),
        ("certificate", {"transfer": held}, 409, "not_deleted_yet"),
        ("consistency", {"kept": "x"}, 400, "invalid_request"),
        ("consistency", {"kept": "x" * 70_000}, 413, "too_large"),
        ("nothing", {}, 404, "not_found"),
    ):
        refused = anyone.post(f"/audit/{report}", data=typed | changed, headers=PAGE)
        assert (refused.status_code, refused.headers["content-type"]) == (status, "text/html; charset=utf-8"), report
        assert code in refused.text, report
        assert typed["token"] not in refused.text
        plain = anyone.post(f"/audit/{report}", data=typed | changed)
        assert (plain.status_code, plain.json()["code"]) == (status, code), report


@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "{own}"}, False),
        ({"Origin": "{own}"}, True),
    ],
    ids=str,
)
def test_a_form_of_another_site_is_refused(house, anyone, typed, headers, accepted):
    own = house.server.origin
    refused = anyone.post("/audit/checkpoint", data=typed, headers={k: v.format(own=own) for k, v in headers.items()})
    assert refused.status_code == (200 if accepted else 403)
    assert accepted or refused.json()["code"] == "cross_site_request"


def test_a_form_whose_fields_are_repeated_or_no_form_at_all_is_refused(anyone, typed):
    for body in (b"token=a&token=b", b"\xff", b"&".join(b"%d=1" % number for number in range(30))):
        refused = anyone.post("/audit/retention", content=body)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    as_file = anyone.post("/audit/retention", data=typed, files={"kept": b"x"})
    assert as_file.status_code in {400, 401}


def test_the_recipients_of_links_reach_no_audit(house, anyone, auditor):
    """The token in a query authenticates nobody: it would stand in every proxy's log."""
    for path in ("/api/v1/audit/retention", "/audit/retention"):
        assert anyone.get(path, params={"token": house.tokens["auditor"]}).status_code in {401, 405}
    assert anyone.post("/audit/retention", params={"token": house.tokens["auditor"]}).status_code == 401
    assert auditor.get("/api/v1/me", headers=bearer(house.tokens["auditor"])).status_code == 200
