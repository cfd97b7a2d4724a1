"""Bodies that are cut, empty, too long, compressed, forms, or not what their head announced: nothing of them stays."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.people import add_file, claim, issue, key_header, ok, open_transfer, send
from tests.acceptance.service import until
from tests.attacks.raw import connected, exchange, head, receive_all

LIMIT = 8 * 1024 * 1024  # CADUCEE_MAX_TRANSFER_BYTES of the shared service


@dataclass(frozen=True)
class Upload:
    """Both ways in: the one-line way, and into an open transfer of the test's own."""

    port: int
    token: str
    transfer: str
    key: str

    def heads(self, *headers):
        """The head of a request for each way."""
        token, key = f"Authorization: Bearer {self.token}", f"Caducee-Client-Key: {self.key}"
        return [
            head("PUT", "/api/v1/send/a?recipient=x", self.port, token, *headers),
            head("PUT", f"/api/v1/transfers/{self.transfer}/files/a", self.port, token, key, *headers),
        ]


@pytest.fixture
def upload(house, server, staff):
    return Upload(server.port, house.tokens["staff"], *open_transfer(staff))


@pytest.fixture
def nothing_stays(house, upload):
    """Called at the end: when so many requests are over, no upload is left half-way and no blob is without its row."""
    before = _requests_over(house)

    def check(requests=2):
        until(lambda: _requests_over(house) >= before + requests, what="the end of the requests")

        def clean():
            receiving = house.installation.rows("SELECT 1 FROM files WHERE state = 'receiving'")
            known = {row[0] for row in house.installation.rows("SELECT blob_id FROM files")}
            return not receiving and {path.name for path in house.installation.files("blobs")} <= known

        until(clean, what="the removal of what was half sent")

    return check


def _requests_over(house):
    return house.server.log.count('"event": "request"')


@pytest.mark.parametrize("sent", [0, 1, 16_384, 500_000])
def test_a_body_cut_half_way_leaves_nothing(house, server, staff, upload, nothing_stays, sent):
    """Lesson 9: announced 1 MB, sent less, hung up."""
    for request in upload.heads("Content-Length: 1000000"):
        with connected(server.port) as connection:
            connection.sendall(request + bytes(sent))
    nothing_stays()
    assert ok(staff.get(f"/api/v1/transfers/{upload.transfer}"), 200)["files"] == []


@pytest.mark.parametrize("cut", [b"", b"4\r\n", b"4\r\nab", b"4\r\nabcd\r\n", b"4\r\nabcd\r\n0\r\n"])
def test_a_chunked_body_without_its_end_leaves_nothing(server, staff, upload, nothing_stays, cut):
    """Lesson 9: the last chunk never came."""
    for request in upload.heads("Transfer-Encoding: chunked"):
        with connected(server.port) as connection:
            connection.sendall(request + cut)
    nothing_stays()
    assert ok(staff.get(f"/api/v1/transfers/{upload.transfer}"), 200)["files"] == []


@pytest.mark.parametrize(
    "chunk", [b"xyz\r\n", b"-5\r\n", b"4\r\nabcdefgh\r\n", b"ffffffffffffffffffffff\r\n", b"4;" + b"a" * 99_999]
)
def test_a_malformed_chunk_is_refused_and_leaves_nothing(server, staff, upload, nothing_stays, chunk):
    for request in upload.heads("Transfer-Encoding: chunked"):
        answer = exchange(server.port, request + chunk + b"\r\n0\r\n\r\n")
        assert answer.status in {None, 400}
    nothing_stays()
    assert ok(staff.get(f"/api/v1/transfers/{upload.transfer}"), 200)["files"] == []


def test_a_chunked_body_with_its_end_is_a_file(server, staff, anyone):
    def pieces():
        yield b"first "
        yield b"second"

    assert claim(anyone, send(staff, pieces())).get().content == b"first second"


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: -1"],
        ["Content-Length: 1e3"],
        ["Content-Length: +1"],
        ["Content-Length: 0x10"],
        ["Content-Length: "],
        ["Content-Length: 1, 2"],
        ["Content-Length: 1", "Content-Length: 2"],
        ["Content-Length: 99999999999999999999999"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding: \x0bchunked"],
    ],
    ids=" and ".join,
)
def test_a_body_of_unclear_length_is_refused_and_the_connection_closed(server, staff, upload, nothing_stays, headers):
    """Two servers that disagree where a body ends can be made to mix up requests (RFC 9112, 11.2)."""
    for request in upload.heads(*headers):
        answer = exchange(server.port, request + b"xxxxx\r\n")
        assert answer.status in {400, 413, 501}, answer.received
        assert answer.headers["content-type"] == "application/problem+json"
    nothing_stays(requests=0)
    assert ok(staff.get(f"/api/v1/transfers/{upload.transfer}"), 200)["files"] == []


def test_chunks_win_over_a_length_and_nothing_after_them_is_read_as_a_request(server, staff, upload):
    """RFC 9112, 6.3: with both, the connection must close after the answer, or be refused at once."""
    smuggled = b"DELETE /api/v1/transfers/x HTTP/1.1\r\nHost: x\r\n\r\n"
    for request in upload.heads("Content-Length: 4", "Transfer-Encoding: chunked"):
        answer = exchange(server.port, request + b"0\r\n\r\n" + smuggled)
        assert answer.status in {201, 400}
        assert answer.received.count(b"HTTP/1.1 ") == 1


def test_bytes_beyond_the_announced_length_are_not_part_of_the_file(server, staff, upload):
    for request in upload.heads("Content-Length: 3"):
        answer = exchange(server.port, request + b"abcdef")
        assert (answer.status, answer.json["size"]) == (201, 3)


def test_a_file_that_announces_too_much_is_refused_before_its_first_byte(server, staff, upload, nothing_stays):
    """Lesson 29. `Expect: 100-continue` is never answered with 100, so curl does not even start to send."""
    for request in upload.heads(f"Content-Length: {LIMIT + 1}", "Expect: 100-continue"):
        answer = exchange(server.port, request)
        assert (answer.status, answer.json["code"]) == (413, "too_large")
        assert answer.json["max_bytes"] == LIMIT
    nothing_stays()


def test_a_file_that_announces_nothing_is_cut_at_the_limit(server, staff, upload, nothing_stays):
    """Lesson 29: unbounded bodies."""
    piece = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    for request in upload.heads("Transfer-Encoding: chunked"):
        with connected(server.port) as connection:
            connection.sendall(request)
            try:
                for _ in range(200):
                    connection.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass
            else:
                raise AssertionError("200 MB were taken")
    nothing_stays()


def test_the_sum_of_a_transfers_files_obeys_the_limit(staff):
    """Lesson 29 (Gokapi CVE-2026-30961)."""
    transfer, key = open_transfer(staff)
    ok(add_file(staff, transfer, key, bytes(LIMIT // 2)), 201)
    ok(add_file(staff, transfer, key, bytes(LIMIT // 2)), 201)
    for content in (b"x", iter([b"x"])):
        assert ok(add_file(staff, transfer, key, content), 413)["code"] == "too_large"
    issue(staff, transfer, key)
    staff.delete(f"/api/v1/transfers/{transfer}")


def test_every_check_comes_before_the_body(server, staff, upload, house):
    """Whoever may not deposit is told so without having sent, or us having read, anything."""
    token = f"Authorization: Bearer {house.tokens['auditor']}"
    announced = ["Content-Length: 1000000", "Expect: 100-continue"]
    wrong = head("PUT", "/api/v1/send/a?recipient=x", server.port, token, *announced)
    anonymous = wrong.replace(token.encode(), b"X: y")
    mine = wrong.replace(house.tokens["auditor"].encode(), house.tokens["staff"].encode())
    name = mine.replace(b"send/a?", b"send/..?")
    for request, status in ((wrong, 403), (anonymous, 401), (name, 400)):
        answer = exchange(server.port, request)
        assert answer.status == status
        assert b"100 Continue" not in answer.received


def test_a_deposit_without_expect_is_continued(server, house):
    token = f"Authorization: Bearer {house.tokens['staff']}"
    request = head("PUT", "/api/v1/send/a?recipient=x", server.port, token, "Content-Length: 4", "Expect: 100-continue")
    with connected(server.port) as connection:
        connection.sendall(request)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"body")
        assert receive_all(connection).status == 201


def test_a_failed_send_leaves_no_transfer_behind(house, server, staff):
    """What `send` opened for a body that never came ends at once, keys and all."""
    token = f"Authorization: Bearer {house.tokens['staff']}"
    before = {row[0] for row in house.installation.rows("SELECT id FROM transfers")}
    with connected(server.port) as connection:
        request = head("PUT", "/api/v1/send/a?recipient=x", server.port, token, "Content-Length: 1000")
        connection.sendall(request + b"half")
        until(lambda: house.installation.rows("SELECT 1 FROM files WHERE state = 'receiving'"))
    (made,) = until(lambda: {row[0] for row in house.installation.rows("SELECT id FROM transfers")} - before)
    shown = until(lambda: _verified(staff, made), what="the end of the transfer")
    assert (shown["ending"], shown["files"], shown["shares"]) == ("failed", [], [])
    assert not any(made in path.name for path in house.installation.key_files())


def _verified(staff, transfer):
    shown = ok(staff.get(f"/api/v1/transfers/{transfer}"), 200)
    return shown if shown["state"] == "verified" else None


def test_no_temporary_file_is_ever_written(house, server, staff):
    """Lesson 28 and 9: while plaintext streams in, it is nowhere on disk."""
    canary = b"PLAINTEXT-ON-DISK-" + bytes(range(65, 91))
    transfer, key = open_transfer(staff)
    seen: list[object] = []

    def slowly():
        yield canary * 20_000
        until(house.installation.unfinished_blobs)
        stored = house.installation.bytes_at_rest()
        seen.extend(path for path, content in stored.items() if canary in content)
        seen.append(len(house.installation.unfinished_blobs()))
        opened = [str(link) for link in _open_files(server)]
        temporary = [path for path in opened if re.match(r"/(tmp|var/tmp|dev/shm)/", path) and "data" not in path]
        seen.extend(path for path in temporary if "/caducee-parties-" not in path)  # app/runtime/last_seen.py: 48 bytes
        yield canary

    headers = key_header(key)
    ok(staff.put(f"/api/v1/transfers/{transfer}/files/a", content=slowly(), headers=headers), 201)
    assert seen == [1], "one blob was being written, and no plaintext"


def _open_files(server):
    for pid in server.processes():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = link.readlink()
            except OSError:
                continue
            if str(target).startswith("/") and not str(target).endswith(".log"):
                yield target
