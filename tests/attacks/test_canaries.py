"""Lesson 34: content, file name, link secret, password, client key, transfer key, claim token and access token stand
in no log, database, write-ahead log, vault, blob, trace, metric, process environment or command line (France Transfert
logs a clear password; FastAPI's own tracing would export the path of `PUT /send/DUPONT_VIH.csv`).
"""

import base64
import io
import json
import os
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from app.crypto import chunked
from tests.acceptance.independent_client import to_bytes, to_text, unwrap_share
from tests.acceptance.people import (
    bearer,
    claim,
    issue,
    key_header,
    ok,
    open_transfer,
    send,
    try_claim,
    wrong_secret,
)
from tests.acceptance.service import until
from tests.acceptance.tus import announce, patch
from tests.attacks.inside import inside
from tests.attacks.raw import connected, head

NAME = "CANARI-DUPONT-Mélanie-VIH.csv"
FOLDER = "CANARI-DOSSIER-Zoé"
CONTENT = b"CANARI-NIR;2690549588157;seropositive\n"
LABEL = "CANARI label of a laboratory"
RECIPIENT = "CANARI recipient"

RECORDER = '''
"""Loaded by every Python of the service: an OpenTelemetry SDK that keeps what it is given in a file."""
import atexit, os
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans, reader, records = InMemorySpanExporter(), InMemoryMetricReader(), InMemoryLogRecordExporter()
tracers = TracerProvider()
tracers.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(tracers)
metrics.set_meter_provider(MeterProvider([reader]))
loggers = LoggerProvider()
loggers.add_log_record_processor(SimpleLogRecordProcessor(records))
_logs.set_logger_provider(loggers)

@atexit.register
def write():
    data = reader.get_metrics_data()
    with open(os.path.join(os.environ["RECORDED"], f"{os.getpid()}.json"), "w") as out:
        out.write("".join(span.to_json() for span in spans.get_finished_spans()))
        out.write(data.to_json() if data else "")
        out.write("".join(str(record.log_record) for record in records.get_finished_logs()))
'''


def forms(secret):
    """The ways in which bytes or text may be written down."""
    raw = secret.encode() if isinstance(secret, str) else bytes(secret)
    written = {
        raw,
        raw.hex().encode(),
        raw.hex().upper().encode(),
        base64.b64encode(raw),
        base64.urlsafe_b64encode(raw),
    }
    written |= {form.rstrip(b"=") for form in written}
    text = raw.decode("utf-8", "ignore")
    if text and text.encode() == raw:
        written |= {
            quote(text).encode(),
            json.dumps(text)[1:-1].encode(),
            repr(raw)[2:-1].encode(),
            text.upper().encode(),
        }
    return {form for form in written if len(form) >= 8}


def found_in(haystacks, secrets):
    """Which secrets stand in which of the named byte strings."""
    return [
        f"{what} in {where}"
        for where, content in haystacks.items()
        for what, secret in secrets.items()
        if any(form in content for form in forms(secret))
    ]


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """The whole life of files on one service, mishaps included, with everything that it left at each stage."""
    from tests.acceptance.service import Installation

    folder = tmp_path_factory.mktemp("canaries")
    (folder / "site").mkdir()
    (folder / "recorded").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(RECORDER)
    installation = Installation(folder / "service", IDLE_TIMEOUT="2s")
    extra = {"PYTHONPATH": f"{folder / 'site'}", "RECORDED": f"{folder / 'recorded'}"}
    patch = pytest.MonkeyPatch()
    for name, value in extra.items():
        patch.setenv(name, value)
    with installation.serving() as server:
        token = installation.token()
        with server.http(token) as http:
            secrets = {
                "access token": token,
                "content": CONTENT,
                "name": NAME,
                "ASCII part of the name": "CANARI-DUPONT",
                "folder": FOLDER,
                "ASCII part of the folder": "CANARI-DOSSIER",
            }
            secrets |= _use(installation, http)
            at_rest = {f"live/{path.name}": content for path, content in installation.bytes_at_rest().items()}
            processes = {
                f"{which} of {pid}": Path(f"/proc/{pid}/{which}").read_bytes()
                for pid in server.processes()
                for which in ("environ", "cmdline")
            }
            _suffer(server, http, token, secrets)
            _end(http, secrets)
            at_rest |= {f"ended/{path.name}": content for path, content in installation.bytes_at_rest().items()}
        assert server.stop() in {0, -15}
        log = server.log.encode()
    patch.undo()
    recorded = {path.name: path.read_bytes() for path in (folder / "recorded").iterdir()}
    return {"secrets": secrets, "at rest": at_rest, "log": log, "processes": processes, "recorded": recorded}


def _use(installation, http):
    """Deposits, shares, claims in every way; answers the secrets that were made."""
    one = send(http, CONTENT * 1_000, quote(NAME), label=LABEL, recipient=RECIPIENT, keep_until_expiry=True)
    two = issue(http, one.transfer_id, one.client_key, RECIPIENT)
    transfer, key = open_transfer(http, label=LABEL)
    named = key_header(key) | {"Caducee-File-Name": quote(NAME), "Caducee-File-Path": quote(FOLDER)}
    for _ in range(2):
        ok(http.put(f"/api/v1/transfers/{transfer}/files", content=CONTENT, headers=named), 201)
    _upload_in_parts(http, transfer, key)
    several = issue(http, transfer, key, RECIPIENT)
    assert CONTENT in http.post(f"/api/v1/shares/{several.id}/content", auth=several.basic).content
    held = claim(http, one)
    assert held.answer["files"][0]["name"] == NAME
    assert held.get().content.startswith(CONTENT)
    held.get(range="bytes=5-10")
    chosen = wrong_secret()
    by_proof = claim(http, two, link_secret=None, link_proof=two.proof, claim_token=chosen).answer
    part = to_bytes(by_proof["server_part"])
    wrapped = to_bytes(by_proof["wrapped_key"])
    transfer_key = unwrap_share(to_bytes(two.secret), part, wrapped, transfer=one.transfer_id, share=two.id)
    settings = {"SERVER": str(http.base_url).rstrip("/"), "TOKEN": http.headers["authorization"][7:], "CLIENT_KEY": key}
    issued = installation.run("share", "issue", transfer, "--to", RECIPIENT, "--json", **settings).json
    fragment = issued["link"].partition("#")[2]
    return {
        "link secret": to_bytes(one.secret),
        "link secret as written": one.secret,
        "another link secret": to_bytes(several.secret),
        "a link secret from the command line": to_bytes(fragment),
        "link proof": to_bytes(two.proof),
        "password": one.password,
        "password as stretched": one.password.replace("-", ""),
        "another password": several.password.replace("-", ""),
        "a password from the command line": issued["password"],
        "client key": to_bytes(one.client_key),
        "another client key": to_bytes(key),
        "transfer key": transfer_key,
        "server part": part,
        "claim token": to_bytes(held.token),
        "claim token of the recipient's choosing": to_bytes(chosen),
    }


def _upload_in_parts(http, transfer, key):
    """One upload that is complete, and one that stands between two parts when the stores are read."""
    whole = announce(http, (transfer, key), len(CONTENT), filename=NAME, path=FOLDER).headers["Location"]
    assert patch(http, whole, key, 0, CONTENT).status_code == 204
    other = open_transfer(http)
    begun = announce(http, other, len(CONTENT) * 2, filename=NAME, path=FOLDER).headers["Location"]
    assert patch(http, begun, other[1], 0, CONTENT).headers["Upload-Offset"] == str(len(CONTENT))


def _suffer(server, http, token, secrets):
    """What goes wrong in a day, each with something secret in the wrong place."""
    password, name = secrets["password"], quote(NAME)
    http.get(f"/api/v1/{name}")
    http.get(f"/s/{name}?password={password}&secret={secrets['link secret as written']}")
    http.get(f"/api/v1/transfers/{name}")
    http.put(f"/api/v1/send/{name}%00?recipient=x", content=CONTENT)
    http.put(f"/api/v1/send/{name}?recipient=x", content=CONTENT, headers={"Caducee-File-Path": f"{quote(FOLDER)}/.."})
    http.put(f"/api/v1/send/{name}?recipient=x&expires_in={password}", content=CONTENT)
    http.put(f"/api/v1/send/{name}?recipient=x", content=CONTENT, headers={"Content-Encoding": password})
    http.put(f"/api/v1/send/{name}?recipient=x", content=CONTENT, headers=key_header(password))
    http.get("/api/v1/me", headers={"Host": f"{password}.example"})
    http.get("/api/v1/me", headers=bearer(password))
    http.post("/api/v1/transfers", json={"label": [NAME], "password": password})
    http.post("/api/v1/shares/x/claim", content=f'{{"password": "{password}", "link_secret": {{}}')
    http.post("/api/v1/shares/x/claim", json={"password": password, "link_secret": [NAME], "x": NAME})
    http.post("/api/v1/shares/x/content", auth=(password, NAME.encode("ascii", "ignore").decode()))
    http.post("/api/v1/shares/x/content", auth=("link", f"{password}.{password}"))
    for key in (password, f"{password} x"):
        http.post("/api/v1/transfers", json={}, headers={"Idempotency-Key": key})
    share = send(http, CONTENT, name)
    try_claim(http, share, password=password)
    try_claim(http, share, password=f"{password}X")
    blobs = [path for path in (server._log.parent / "data" / "blobs").rglob("*") if path.stat().st_size > 20_000]
    for path in blobs:  # the service's own failure, with a file under way
        path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    held = claim(http, share)
    assert held.get().content == CONTENT
    with connected(server.port) as connection:
        authorization = f"Authorization: Bearer {token}"
        cut = head("PUT", f"/api/v1/send/{name}?recipient=x", server.port, authorization, "Content-Length: 5000")
        connection.sendall(cut + CONTENT)
    with connected(server.port) as connection:
        connection.sendall(f"GET /{name} {password}\r\n\r\n".encode())
        connection.recv(1_000)
    vault = server._log.parent / "data" / "vault"
    vault.rename(vault.with_name("away"))
    for path in (f"/api/v1/send/{name}?recipient={quote(RECIPIENT)}",):
        assert http.put(path, content=CONTENT).status_code == 503
    vault.with_name("away").rename(vault)
    damaged = http.get("/api/v1/transfers").json()["transfers"]
    assert len(damaged) > 3


def _end(http, secrets):
    """Everything is deleted, and seen to be."""
    for transfer in http.get("/api/v1/transfers").json()["transfers"]:
        http.delete(f"/api/v1/transfers/{transfer['id']}")

    def ended():
        return {transfer["state"] for transfer in http.get("/api/v1/transfers").json()["transfers"]} == {"verified"}

    until(ended, what="the end of everything")


def test_no_secret_lies_in_any_store(life):
    """Every byte below the data folder, while files are held and after their end: database, WAL, vault, blobs, keys."""
    assert len(life["at rest"]) > 20
    assert found_in(life["at rest"], life["secrets"]) == []


def test_no_secret_stands_in_the_log(life):
    said = life["log"]
    assert b"/api/v1/send/{filename:path}" in said, "the log did run, at its default level"
    assert found_in({"log": said}, life["secrets"]) == []


def test_no_free_text_stands_in_the_log_or_the_audit_log(life):
    """A label or recipient may hold what it should not; neither log repeats it."""
    assert found_in({"log": life["log"]}, {"label": LABEL, "recipient": RECIPIENT}) == []
    assert b"Traceback" not in life["log"], "tracebacks carry what was under way"


def test_no_process_carries_a_secret_in_its_environment_or_command_line(life):
    """The server's own: whoever may run `ps` reads the second."""
    assert len(life["processes"]) >= 4
    assert found_in(life["processes"], life["secrets"]) == []


def test_an_installed_tracing_sdk_gets_no_secret(life):
    """With an OpenTelemetry SDK set up in every process: spans, metrics and log records."""
    assert life["recorded"], "the SDK was loaded and wrote at exit"
    assert found_in(life["recorded"], life["secrets"]) == []
    assert b"url.path" not in b"".join(life["recorded"].values())


def test_the_recorder_would_have_seen_a_traced_path(tmp_path, monkeypatch):
    """The control: a FastAPI application that does trace exports the path, file name and all, to this recorder."""
    import subprocess
    import sys

    (tmp_path / "sitecustomize.py").write_text(RECORDER)
    program = (
        "from fastapi import FastAPI; from fastapi.testclient import TestClient\n"
        f"TestClient(FastAPI()).put('/api/v1/send/{quote(NAME)}')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "RECORDED": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)
    (recorded,) = tmp_path.glob("*.json")
    assert b"CANARI-DUPONT" in recorded.read_bytes()


def test_the_search_would_have_found_each_form():
    """The control: what is looked for is found in every form that it may be written in."""
    secret = to_bytes(wrong_secret())
    for form in (secret, secret.hex().encode(), to_text(secret).encode(), base64.b64encode(secret)):
        assert found_in({"x": b"before" + form + b"after"}, {"it": secret}) == ["it in x"]
    for form in (NAME.encode(), quote(NAME).encode(), json.dumps(NAME).encode()):
        assert found_in({"x": form}, {"it": NAME}) == ["it in x"]


def test_the_transfer_key_is_in_memory_only(tmp_path, monkeypatch, capfd):
    """In process: the key is caught where files are encrypted, and looked for in everything that was written."""
    caught = []

    class Catching(chunked.Encryptor):
        def __init__(self, key, context):
            caught.append(bytes(key))
            super().__init__(key, context)

    monkeypatch.setattr(chunked, "Encryptor", Catching)
    with inside(tmp_path) as opened:
        http = opened.staff()
        share = send(http, CONTENT * 5_000)
        held = claim(http, share)
        assert held.get().content == CONTENT * 5_000
        said = io.StringIO()
        said.write(str(opened.resources) + repr(opened.resources.__dict__) + repr(http.get("/api/v1/transfers").json()))
        stored = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    captured = capfd.readouterr()
    stored |= {"stdout": captured.out.encode(), "stderr": captured.err.encode(), "repr": said.getvalue().encode()}
    (key,) = set(caught)
    assert len(key) == 32
    assert len(stored) > 8
    assert found_in(stored, {"transfer key": key}) == []


def test_a_refused_request_repeats_nothing_of_what_was_sent(server, anyone):
    """A problem document is often logged by programs, or shown on a screen."""
    secret = "CANARI-0123-4567-89AB"
    answers: list[httpx.Response] = [
        anyone.post("/api/v1/shares/x/claim", json={"password": secret, "link_secret": secret, "x": secret}),
        anyone.post("/api/v1/shares/x/claim", content=secret.encode(), headers={"Content-Type": "application/json"}),
        anyone.post("/api/v1/shares/x/content", auth=(secret, secret)),
        anyone.post("/api/v1/shares/x/content", auth=("link", f"{secret}.{secret}")),
        anyone.post("/api/v1/shares/x/content", headers={"Caducee-Claim-Token": secret}),
        anyone.get(f"/api/v1/{secret}", headers=bearer(secret)),
        anyone.get("/api/v1/me", headers={"Host": secret}),
        anyone.request("DELETE", f"/s/{secret}"),
    ]
    for answer in answers:
        assert answer.status_code >= 400
        assert secret not in answer.text
        assert secret not in str(answer.headers)
