"""`Accept: text/plain`: what a person pastes into a mail, says by telephone, keeps, and pastes into a shell."""

import json
import re
import subprocess
from urllib.parse import quote

import pytest

from tests.acceptance.people import Share, add_file, claim, key_header, ok, open_transfer
from tests.acceptance.sealed_people import a_sealed_transfer
from tests.acceptance.service import Installation

HOUSE, CONTACT = "Hôpital d’Exemple", "DIM, 01 23 45 67 89"
ID, SECRET = r"[A-Za-z0-9_-]{22}", r"[A-Za-z0-9_-]{43}"
PASSWORD = r"[0-9A-HJKMNP-TV-Z]{4}(?:-[0-9A-HJKMNP-TV-Z]{4}){3}"
ODD = 'O\'Neil "x" $(touch pwned) `touch pwned` é !! --- Keep this yourself ---'


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service of a house in Paris."""
    settings = {"ORGANISATION": HOUSE, "CONTACT": CONTACT, "TIMEZONE": "Europe/Paris"}
    installation = Installation(tmp_path_factory.mktemp("house"), **settings)
    with installation.serving() as server:
        yield server, installation.token()


@pytest.fixture
def depositor(service):
    server, token = service
    with server.http(token) as http:
        yield http


def text_of(answer):
    """The three blocks of a response."""
    assert answer.status_code == 201, answer.text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    blocks = answer.text.split("\n\n")
    assert [line for line in answer.text.splitlines() if line.startswith("---")] == [
        block.splitlines()[0] for block in blocks
    ]
    assert len(blocks) == 3
    return blocks


def sent(http, name="DUPONT%20VIH.csv", *, language="en", **asked):
    headers = {"Accept": "text/plain", "Accept-Language": language}
    parameters = {"recipient": "ARS", "expires_in": "1h"} | asked
    return text_of(http.put(f"/api/v1/send/{name}", params=parameters, content=b"x" * 4_321, headers=headers))


def pasted(command, service, tmp_path, **variables):
    """Run a line of the text in a shell, as it is."""
    environment = {"PATH": "/usr/bin:/bin", "TOKEN": service[1]} | variables
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert list(tmp_path.iterdir()) == [], "nothing in the line is run but curl"
    return done


def found(pattern, text):
    """The first group of the first match."""
    match = re.search(pattern, text, re.MULTILINE)
    assert match, pattern
    return match[1]


def commands(keep):
    return [line for line in keep.splitlines() if line.startswith("curl ")]


def test_each_block_has_what_its_reader_needs_and_no_secret_of_another(depositor, service):
    mail, told, keep = sent(depositor, label="weekly export")
    link = re.search(rf"{re.escape(service[0].origin)}/s/{ID}#{SECRET}$", mail, re.MULTILINE)
    password = re.search(PASSWORD, told)
    assert link
    assert password
    assert "Subject: weekly export\n" in mail
    assert f"{HOUSE} has sent you 1 file (4.3 kB)." in mail
    assert mail.endswith(f"Questions: {CONTACT}")
    assert re.search(r"until \d+ \w+ 20\d\d at \d\d:\d\d \(Central European (Standard|Summer) Time\):", mail)
    assert "DUPONT" not in mail + told, "a file name is patient data"
    assert told.splitlines() == ["--- Tell this by telephone ---", password[0]]
    assert password[0] not in mail + keep
    assert link[0] not in told + keep
    for line in ("For: ARS", "File: DUPONT VIH.csv", "Size: 1 file, 4.3 kB"):
        assert f"{line}\n" in keep
    for label, form in (("Transfer", ID), ("Share", ID), ("Client key", SECRET)):
        value = found(rf"^{label}: ({form})$", keep)
        assert value not in told
        assert label == "Share" or value not in mail


def test_the_text_is_french_where_french_is_asked_for(depositor):
    blocks = sent(depositor, language="fr-FR,fr;q=0.9,en;q=0.1")
    mail, told, keep = (re.sub("[\u00a0\u202f]", " ", block) for block in blocks)
    assert mail.startswith("--- À envoyer par courriel ---\nObjet : Des fichiers pour vous\n")
    assert f"{HOUSE} vous a envoyé 1 fichier (4,3 ko)." in mail
    assert re.search(r"heure (normale|d’été) d’Europe centrale", mail)
    assert mail.endswith(f"Une question ? {CONTACT}")
    assert told.startswith("--- À dire par téléphone ---")
    assert keep.startswith("--- À garder pour vous ---\nPour : ARS\nFichier : DUPONT VIH.csv\n")


@pytest.mark.parametrize("recipient", ["ARS", ODD])
def test_the_lines_to_keep_withdraw_the_link_and_issue_another(depositor, service, tmp_path, recipient):
    _, _, keep = sent(depositor, recipient=recipient)
    withdraw, again = commands(keep)[:2]
    assert pasted(withdraw, service, tmp_path).returncode == 0
    done = pasted(again, service, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    mail, told, kept = done.stdout.removesuffix("\n").split("\n\n")
    transfer = found(rf"^Transfer: ({ID})$", keep)
    assert f"Transfer: {transfer}\n" in kept
    shares = ok(depositor.get(f"/api/v1/transfers/{transfer}"), 200)["shares"]
    assert sorted((share["state"], share["recipient"]) for share in shares) == [
        ("issued", recipient),
        ("withdrawn", recipient),
    ]
    link, password = found(r"^(http\S+)", mail), told.splitlines()[1]
    share = Share(transfer, "", found(rf"/s/({ID})#", link), link, password)
    with service[0].http() as anyone:
        assert claim(anyone, share).get().content == b"x" * 4_321


def test_the_lines_to_keep_tell_what_was_fetched_delete_and_give_the_receipt(depositor, service, tmp_path):
    _, _, keep = sent(depositor)
    fetched, delete, receipt = commands(keep)[2:]
    assert json.loads(pasted(fetched, service, tmp_path).stdout)["shares"][0]["state"] == "issued"
    early = pasted(receipt, service, tmp_path)
    assert (early.returncode, json.loads(early.stdout)["code"]) == (22, "not_deleted_yet")
    done = pasted(delete, service, tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), "204 has no body"
    assert json.loads(pasted(fetched, service, tmp_path).stdout)["shares"][0]["state"] == "withdrawn"


def test_a_line_to_keep_ends_non_zero_when_it_is_refused(depositor, service, tmp_path):
    """And says why, in the language of the text."""
    _, _, keep = sent(depositor, language="fr")
    again = commands(keep)[1]
    done = pasted(again, service, tmp_path, TOKEN="cad_wrong")
    assert done.returncode == 22
    assert "Code\u00a0: not_authenticated" in done.stdout


def test_a_client_key_of_ones_own_is_named_and_never_sent_back(depositor, service, tmp_path):
    transfer, key = open_transfer(depositor, label="two files")
    for content in (b"a" * 999, b"b"):
        ok(add_file(depositor, transfer, key, content), 201)
    headers = key_header(key) | {"Accept": "text/plain"}
    answer = depositor.post(f"/api/v1/transfers/{transfer}/shares", json={"recipient": ODD}, headers=headers)
    mail, _, keep = text_of(answer)
    assert "Subject: two files\n" in mail
    assert "2 files (1 kB)" in mail
    assert key not in answer.text
    assert "the one that your request contained" in keep
    done = pasted(commands(keep)[1], service, tmp_path, KEY=key)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_program_gets_the_text_to_mail_where_it_asks_for_a_language(depositor, service):
    """Beside the JSON, the first block without its heading; of a sealed share, whose link the service does not know,
    with the page, which the program completes.
    """
    transfer, key = open_transfer(depositor, label="weekly export")
    ok(add_file(depositor, transfer, key, b"a" * 4_321), 201)
    path, asked = f"/api/v1/transfers/{transfer}/shares", {"recipient": "ARS"}
    assert "mail" not in ok(depositor.post(path, json=asked, headers=key_header(key)), 201)
    issued = ok(depositor.post(path, json=asked, headers=key_header(key) | {"Accept-Language": "fr"}), 201)
    lines = re.sub("[\u00a0\u202f]", " ", issued["mail"]).splitlines()
    assert lines[:2] == ["Objet : weekly export", f"{HOUSE} vous a envoyé 1 fichier (4,3 ko)."]
    assert issued["link"] in lines
    assert issued["password"] not in issued["mail"]

    sealed = a_sealed_transfer(depositor, b"a" * 4_321)
    path, asked = f"/api/v1/transfers/{sealed.id}/shares", {"recipient": "ARS", "password": "0000-1111-2222-3333"}
    prepared = ok(depositor.post(path, json=asked, headers={"Accept-Language": "en"}), 201)
    assert prepared["mail"].splitlines().count(prepared["page"]) == 1
    assert re.search(r"at \d\d:\d\d \(Central European (Standard|Summer) Time\)", prepared["mail"])
    assert asked["password"] not in prepared["mail"]
    assert "mail" not in ok(depositor.post(path, json=asked), 201)


@pytest.mark.parametrize("text", ["--- Tell this by telephone ---", "x", "\u05d0\u05d1\u05d2 1", "{link} {0} %s"])
def test_no_text_of_a_caller_passes_for_a_block(depositor, text):
    """`text_of` counts the blocks; what is sent stands at the end of a line, where it reorders nothing after it."""
    mail, _, keep = sent(depositor, name=text.replace("%", "%25"), label=text, recipient=text)
    assert f"Subject: {text}\n" in mail
    assert f"For: {text}\nFile: {text}\n" in keep


@pytest.mark.parametrize("text", ["a\nb", "a\r\n--- x ---", "a\u2028b", "a\u202eb", "a\x85b", "a\x1b[2Jb"])
def test_what_could_forge_a_block_is_refused(depositor, text):
    for parameters in ({"recipient": text}, {"recipient": "ARS", "label": text}):
        refused = depositor.put("/api/v1/send/a", params=parameters, content=b"x")
        assert ok(refused, 400)["code"] == "invalid_request"
    headers = {"Caducee-File-Name": quote(text)}
    refused = depositor.put("/api/v1/send", params={"recipient": "x"}, content=b"x", headers=headers)
    assert ok(refused, 400)["code"] == "invalid_file_name"


# --- refusals

WANTS_TEXT = {"Accept": "text/plain"}


def refused(http, **headers):
    return http.put("/api/v1/send/a?recipient=x", content=b"", headers=headers)


def test_a_refusal_is_text_where_text_is_asked_for(depositor):
    english = refused(depositor, Accept="text/plain")
    assert english.headers["content-type"] == "text/plain; charset=utf-8"
    assert english.text.splitlines() == [
        "Refused: The body is empty; nothing was stored. If the file is meant to be empty, add allow_empty=true.",
        "Code: empty_body",
    ]
    french = refused(
        depositor, **{"Accept": "text/plain;q=0.9, application/json;q=0.5", "Accept-Language": "en;q=0, fr"}
    )
    assert (french.status_code, french.headers["content-language"]) == (400, "fr")
    assert french.text.startswith("Refusé\u00a0: Le contenu est vide")
    assert french.text.endswith("\nCode\u00a0: empty_body\n")


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "text/plain;q=0", "application/json, text/plain, */*", ""]
)
def test_a_refusal_is_a_problem_document_otherwise(depositor, accept):
    answer = refused(depositor, Accept=accept)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "empty_body"


def test_a_problem_document_speaks_the_language_asked_for(depositor):
    problem = ok(refused(depositor, **{"Accept-Language": "fr"}), 400)
    assert (problem["code"], problem["status"]) == ("empty_body", 400)
    assert problem["title"].startswith("Le contenu est vide")


def test_every_kind_of_refusal_follows(service):
    """By a route, the guard, the router, the host check and the HTTP parser; headers stay."""
    server, token = service
    with server.http() as http:
        anonymous = http.get("/api/v1/me", headers=WANTS_TEXT)
        assert anonymous.headers["www-authenticate"].startswith("Bearer")
        answers = {"not_authenticated": anonymous, "not_found": http.get("/x", headers=WANTS_TEXT)}
        link = http.post("/api/v1/shares/x/content", headers=WANTS_TEXT)
        assert link.headers["www-authenticate"].startswith("Basic")
        answers["link_credentials_required"] = link
    with server.http(token, host="elsewhere.example") as http:
        answers["host_not_allowed"] = http.get("/api/v1/me", headers=WANTS_TEXT)
    for code, answer in answers.items():
        assert answer.text.splitlines()[-1] == f"Code: {code}"


def test_a_line_as_it_was_typed_is_refused_in_words(service):
    """A query with a letter that curl does not encode, in the language asked for."""
    server, token = service
    headers = ["-H", f"Authorization: Bearer {token}", "-H", "Accept: text/plain", "-H", "Accept-Language: fr"]
    url = f"{server.origin}/api/v1/send/a?recipient=hôpital"
    done = subprocess.run(
        ["curl", "-sS", "--fail-with-body", "-T", __file__, *headers, url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 22
    assert "L’adresse contient des caractères sans encodage-pourcent" in done.stdout
    assert done.stdout.endswith("Code\u00a0: invalid_request\n")
