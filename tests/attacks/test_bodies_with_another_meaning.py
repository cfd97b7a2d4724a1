"""Lesson 45: a request whose headers or address give its body another meaning is refused before the body is read
(curl #17510 stored half a file as the whole, curl #3859 a file without its line breaks).
"""

import shutil
import subprocess
from dataclasses import dataclass

import pytest

from tests.acceptance.people import add_file, claim, issue, ok, open_transfer, send
from tests.attacks.raw import connected, first_answer, head, receive_all

ANNOUNCED = ("Content-Length: 1000000", "Expect: 100-continue")


@dataclass(frozen=True)
class Uploads:
    """Every route whose body is a file, and a transfer of each kind to send it to."""

    port: int
    token: str
    plain: str
    key: str
    sealed: str

    def heads(self, *headers, query=""):
        """The head of a request for each route; `query` begins with `&`."""
        token, key = f"Authorization: Bearer {self.token}", f"Caducee-Client-Key: {self.key}"
        files = f"/api/v1/transfers/{self.plain}/files/a?{query.removeprefix('&')}"
        blobs = f"/api/v1/transfers/{self.sealed}/blobs/0?{query.removeprefix('&')}"
        return [
            head("PUT", f"/api/v1/send/a?recipient=x{query}", self.port, token, *headers),
            head("PUT", files, self.port, token, key, *headers),
            head("PUT", blobs, self.port, token, f"Caducee-Sealed-Meta: {'A' * 100}", *headers),
        ]


@pytest.fixture
def uploads(house, server, staff):
    plain, key = open_transfer(staff)
    sealed = ok(staff.post("/api/v1/transfers", json={"sealed": True}), 201)["id"]
    return Uploads(server.port, house.tokens["staff"], plain, key, sealed)


@pytest.fixture
def nothing_is_stored(house, staff):
    """No transfer was opened for what was refused, and no file or blob was added. Called before; checks at the end."""

    def held():
        rows = house.installation.rows("SELECT 'transfer', id FROM transfers UNION SELECT 'file', blob_id FROM files")
        return {*rows, *house.installation.files("blobs")}

    before = set()
    yield lambda: before.update(held())
    assert held() <= before, "only what other tests left may end meanwhile"


REFUSED = {
    "a resumed upload": (["Content-Range: bytes 500000-999999/1000000"], 400, "partial_body_refused"),
    "the whole as a range": (["Content-Range: bytes 0-999999/1000000"], 400, "partial_body_refused"),
    "a range that is none": (["Content-Range: x"], 400, "partial_body_refused"),
    "a range of a download": (["Range: bytes=0-99"], 400, "partial_body_refused"),
    "a piece of a tus upload": (["Upload-Offset: 0"], 400, "partial_body_refused"),
    "a piece of a resumable upload": (["Upload-Complete: ?0"], 400, "partial_body_refused"),
    "curl -d": (["Content-Type: application/x-www-form-urlencoded"], 415, "unsupported_media_type"),
    "curl -d, written otherwise": (
        ["content-type:APPLICATION/X-WWW-Form-Urlencoded ; charset=utf-8"],
        415,
        "unsupported_media_type",
    ),
    "curl -F": (["Content-Type: multipart/form-data; boundary=x"], 415, "unsupported_media_type"),
    "parts": (["Content-Type: Multipart/ByteRanges; boundary=x"], 415, "unsupported_media_type"),
    "two types": (["Content-Type: text/csv", "Content-Type: text/plain"], 415, "unsupported_media_type"),
    "two types in one line": (["Content-Type: text/csv, multipart/form-data"], 415, "unsupported_media_type"),
    "gzip": (["Content-Encoding: gzip"], 415, "content_encoding_refused"),
    "gzip in capitals": (["Content-Encoding: GZIP"], 415, "content_encoding_refused"),
    "a list of codings": (["Content-Encoding: identity, br"], 415, "content_encoding_refused"),
    "codings in two lines": (["Content-Encoding: identity", "Content-Encoding: zstd"], 415, "content_encoding_refused"),
    "an unknown coding": (["Content-Encoding: aws-chunked"], 415, "content_encoding_refused"),
    "base64": (["Content-Transfer-Encoding: base64"], 415, "content_encoding_refused"),
    "two client keys": (["Caducee-Client-Key: x", "Caducee-Client-Key: y"], 400, "invalid_request"),
}


@pytest.mark.parametrize(("headers", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_headers_that_change_the_meaning_are_refused(uploads, nothing_is_stored, headers, status, code):
    """Lesson 45. The client never gets a `100 Continue`, so curl does not even start to send."""
    nothing_is_stored()
    for request in uploads.heads(*headers, *ANNOUNCED):
        answer = first_answer(uploads.port, request)
        assert (answer.status, answer.json["code"]) == (status, code), answer.received
        assert b"100 Continue" not in answer.received


def test_a_form_is_told_how_to_send_a_file_and_a_coding_which_one_is_taken(uploads):
    form = first_answer(uploads.port, uploads.heads("Content-Type: multipart/form-data; boundary=x")[0])
    assert "curl -T" in form.json["detail"]
    coded = first_answer(uploads.port, uploads.heads("Content-Encoding: gzip", "Content-Length: 0")[0])
    assert coded.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("headers", [["Content-Type: text/csv; charset=utf-8"], ["Content-Encoding: Identity"], []])
def test_headers_that_say_what_the_route_does_are_accepted(uploads, headers):
    for request in uploads.heads(*headers, "Content-Length: 3")[:2]:
        assert first_answer(uploads.port, request + b"abc").status == 201


@pytest.mark.parametrize(
    ("headers", "body"),
    [([], b""), (["Content-Length: 0"], b""), (["Transfer-Encoding: chunked"], b"0\r\n\r\n")],
    ids=["no length", "length 0", "no chunk"],
)
def test_an_empty_body_is_refused_unless_it_is_asked_for(uploads, nothing_is_stored, anyone, staff, headers, body):
    """Lesson 45: most often, it is an export that failed. The sealed route refuses the length."""
    nothing_is_stored()
    send_it, add_it, seal_it = (first_answer(uploads.port, request + body) for request in uploads.heads(*headers))
    for answer, code in ((send_it, "empty_body"), (add_it, "empty_body"), (seal_it, "malformed_ciphertext")):
        assert (answer.status, answer.json["code"]) == (400, code), answer.received


def test_an_empty_file_that_is_asked_for_is_a_file(uploads, anyone, staff):
    assert claim(anyone, send(staff, b"", allow_empty=True)).get().content == b""
    for headers, body in (([], b""), (["Transfer-Encoding: chunked"], b"0\r\n\r\n")):
        for request in uploads.heads(*headers, query="&allow_empty=true")[:2]:
            answer = first_answer(uploads.port, request + body)
            assert (answer.status, answer.json["size"]) == (201, 0), "neither length nor chunks: empty (RFC 9112, 6.3)"


def test_a_body_whose_first_piece_never_comes_is_given_up(uploads, nothing_is_stored):
    """Only the first piece of a chunked body shows whether it is empty; the wait for it ends, before a transfer."""
    nothing_is_stored()
    with connected(uploads.port) as connection:
        connection.sendall(uploads.heads("Transfer-Encoding: chunked")[0])
        answer = receive_all(connection)
    assert (answer.status, answer.json["code"]) == (408, "client_too_slow")


def test_trailers_are_no_part_of_the_file(uploads, anyone, staff):
    """RFC 9110, 6.5.1: they may be discarded, and cannot change what was said in the head."""
    request = uploads.heads("Transfer-Encoding: chunked", "Trailer: Content-Range, Content-Encoding")[1]
    body = b"3\r\nabc\r\n0\r\nContent-Range: bytes 0-2/9\r\nContent-Encoding: gzip\r\n\r\n"
    assert first_answer(uploads.port, request + body).json["size"] == 3
    assert claim(anyone, issue(staff, uploads.plain, uploads.key)).get().content == b"abc"


QUERIES = {
    "bytes of UTF-8": ("recipient=hôpital".encode(), "percent-encoded"),
    "bytes of ISO-8859-1": ("recipient=hôpital".encode("latin-1"), "percent-encoded"),
    "a space": (b"recipient=a b", "percent-encoded"),
    "encoded ISO-8859-1": (b"recipient=h%F4pital", "UTF-8"),
    "half a character": (b"recipient=h%C3", "UTF-8"),
    "encoded twice": (b"recipient=h%25C3%25B4pital", "twice"),
    "a percent sign": (b"recipient=100%", "%25"),
    "a percent sign before letters": (b"recipient=100%zz", "%25"),
    "replaced before": (b"recipient=h%EF%BF%BDpital", "UTF-8"),
    "a name in ISO-8859-1": (b"recipient=x&%F4=1", "UTF-8"),
    "an unknown name": (b"recipient=x&expires=1h", "expires_in"),
    "twice": (b"recipient=x&recipient=y", "repeated"),
}


@pytest.mark.parametrize(("query", "reason"), QUERIES.values(), ids=QUERIES)
def test_a_query_that_is_not_text_is_refused_with_the_reason(uploads, nothing_is_stored, query, reason):
    nothing_is_stored()
    request = uploads.heads(*ANNOUNCED)[0].replace(b"recipient=x", query, 1)
    answer = first_answer(uploads.port, request)
    code = "unknown_query_parameter" if b"expires=" in query else "invalid_request"
    assert (answer.status, answer.json["code"]) == (400, code), answer.received
    assert reason in answer.json["detail"]
    assert "pital" not in answer.json["detail"], "what was sent is not repeated"


@pytest.mark.parametrize("query", ["allow_empty=perhaps", "recipient=x", "allow_empty=true&allow_empty=true"])
def test_queries_are_checked_on_every_route(uploads, query):
    for request in uploads.heads("Content-Length: 1", query=f"&{query}")[1:]:
        answer = first_answer(uploads.port, request + b"x")
        unknown = query == "recipient=x" or b"/blobs/" in request
        code = "unknown_query_parameter" if unknown else "invalid_request"
        assert (answer.status, answer.json["code"]) == (400, code), answer.received


NAMES = {
    "ISO-8859-1": ("h%F4pital.csv", "UTF-8"),
    "half a character": ("%C3", "UTF-8"),
    "encoded twice": ("h%25C3%25B4pital.csv", "twice"),
    "a percent sign": ("100%.csv", "%25"),
    "too long": ("a" * 256, "longer than 255"),
    "a folder": ("folder%2Ffile", "folder"),
    "a folder of Windows": ("C:%5Cfile", "folder"),
    "a control character": ("a%07b", "control character"),
    "a line separator": ("a%E2%80%A8---%20x%20---", "line break"),
    "nothing": ("%20", "empty"),
    "replaced before": ("h%EF%BF%BDpital", "encoding"),
}


@pytest.mark.parametrize(("name", "reason"), NAMES.values(), ids=NAMES)
def test_a_name_is_refused_with_the_reason(uploads, nothing_is_stored, name, reason):
    nothing_is_stored()
    for request in uploads.heads(*ANNOUNCED)[:2]:
        in_path = request.replace(b"/a?", f"/{name}?".encode(), 1)
        in_header = request.replace(b"/a?", b"?", 1).replace(b"\r\n", f"\r\nCaducee-File-Name: {name}\r\n".encode(), 1)
        for named in (in_path, in_header):
            answer = first_answer(uploads.port, named)
            assert (answer.status, answer.json["code"]) == (400, "invalid_file_name"), answer.received
            assert reason in answer.json["detail"]


def test_a_file_that_is_named_twice_is_refused(uploads):
    for names in (["a"], ["a", "b"]):
        headers = [f"Caducee-File-Name: {name}" for name in names]
        for request in uploads.heads(*headers, *ANNOUNCED)[:2]:
            assert first_answer(uploads.port, request).status == 400


@pytest.mark.parametrize("name", ["a+b.csv", "100%25.csv", "100%2525.csv", "rapport%2520final.csv"])
def test_the_response_echoes_the_name_as_it_was_understood(staff, uploads, name):
    """A plus sign is one; a name that holds `%20`, as some browsers save it, is kept."""
    understood = {"a+b.csv": "a+b.csv", "100%25.csv": "100%.csv", "100%2525.csv": "100%25.csv"}
    echoed = ok(add_file(staff, uploads.plain, uploads.key, b"x", name), 201)["name"]
    assert echoed == understood.get(name, "rapport%20final.csv")
    assert ok(staff.put(f"/api/v1/send/{name}?recipient=x", content=b"x"), 201)["name"] == echoed


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["-C", "5", "-T", "a.csv"], "partial_body_refused"),
        (["-r", "0-4", "-T", "a.csv"], "partial_body_refused"),
        (["-X", "PUT", "-d", "@a.csv"], "unsupported_media_type"),
        (["-X", "PUT", "--data-binary", "@a.csv"], "unsupported_media_type"),
        (["-X", "PUT", "-F", "file=@a.csv"], "unsupported_media_type"),
        (["-H", "Content-Encoding: gzip", "-T", "a.csv"], "content_encoding_refused"),
        (["-T", "empty.csv"], "empty_body"),
        (["-T", "-"], "empty_body"),
    ],
    ids=" ".join,
)
def test_curl_ends_with_an_error(server, house, tmp_path, options, code):
    """As scripts call it, with the option that the documents show."""
    (tmp_path / "a.csv").write_bytes(b"id;v\r\n1;A\r\n" * 50_000)
    (tmp_path / "empty.csv").touch()
    url = f"{server.origin}/api/v1/send/a.csv?recipient=x"
    token = f"Authorization: Bearer {house.tokens['staff']}"
    command = ["curl", "-sS", "--fail-with-body", *options, "-H", token, url]
    done = subprocess.run(
        command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert f'"code":"{code}"' in done.stdout, done.stderr
