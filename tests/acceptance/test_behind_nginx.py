"""deploy/nginx.conf in a real nginx, in front of the service: limits, caching, headers, logs.

Lesson 21 (what a proxy adds and passes on) is checked beside the service's own tests of forwarded headers.
"""

import os
import re
import shutil
import ssl
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.acceptance.service import Installation, accepts, free_port, until

pytestmark = [pytest.mark.slow, pytest.mark.external]

CONFIGURATION = Path(__file__).parents[2] / "deploy/nginx.conf"
PUBLIC, STAFF = "share.example.org", "staff.example.org"
BURST, PER_SECOND = 400, 20
ONE_HSTS = ["max-age=63072000; includeSubDomains"]


class Proxy:
    """A running nginx with the shipped configuration; only addresses, ports and paths of this machine are replaced."""

    def __init__(self, folder, upstream):
        self.folder, self.port = folder, free_port()
        for name in ("logs", "temporary"):
            (folder / name).mkdir()
        self._certificate()
        site = CONFIGURATION.read_text()
        site = re.sub(r"/etc/ssl/caducee/\w+\.(pem|key)", lambda found: f"{folder}/proxy.{found[1]}", site)
        site = re.sub(r"127\.0\.0\.1:800[01]", f"127.0.0.1:{upstream}", site)
        site = site.replace("listen 80;", f"listen 127.0.0.1:{free_port()};")
        site = site.replace("listen 443", f"listen 127.0.0.1:{self.port}").replace("/var/log/nginx", f"{folder}/logs")
        (folder / "site").write_text(site)
        temporary = " ".join(
            f"{kind}_temp_path {folder}/temporary;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; error_log {folder}/logs/error; events {{}}\n"
            f"http {{ {temporary} include {folder}/site; }}"
        )
        self._command = [shutil.which("nginx") or "/usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf"]
        subprocess.run([*self._command, "-t", "-q"], check=True)
        self._trust = ssl.create_default_context(cafile=folder / "proxy.pem")
        self._process = subprocess.Popen(self._command)

    def _certificate(self):
        subject = ["-subj", f"/CN={PUBLIC}", "-addext", f"subjectAltName=DNS:{PUBLIC},DNS:{STAFF}"]
        files = ["-keyout", self.folder / "proxy.key", "-out", self.folder / "proxy.pem"]
        generate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        subprocess.run([*generate, *subject, *files], check=True, capture_output=True)

    def client(self, host=PUBLIC):
        """A client whose requests reach this nginx under the public name."""
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}",
            headers={"Host": host},
            verify=self._trust,
            trust_env=False,
            timeout=60,
            event_hooks={"request": [lambda request: request.extensions.update(sni_hostname=host)]},
        )

    def end(self):
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        missing = pytest.fail if os.environ.get("CADUCEE_REQUIRE_ALL") == "1" else pytest.skip
        missing("SKIPPED, NOT PROVED: no nginx, apt-get install nginx-light")
    origins = {
        "CADUCEE_PUBLIC_URL": f"https://{PUBLIC}",
        "CADUCEE_STAFF_URL": f"https://{STAFF}",
        "CADUCEE_TRUSTED_PROXIES": "127.0.0.1",
    }
    names = {name.removeprefix("CADUCEE_"): value for name, value in origins.items()}
    with Installation(tmp_path_factory.mktemp("installation")).serving(**names) as running:
        yield running


@pytest.fixture
def proxy(server, tmp_path):
    """A fresh one for each test: its counters start at zero."""
    started = Proxy(tmp_path, server.port)
    try:
        until(lambda: accepts("127.0.0.1", started.port), what="nginx")
        yield started
    finally:
        started.end()


def assets_of(page):
    return sorted(set(re.findall(r'"(/s/assets/[^"]+)"', page)))


def read_the_page(proxy):
    """Everything that a first view loads. Returns the statuses."""
    with proxy.client() as reader:
        page = reader.get("/s/AAAAAAAAAAAAAAAAAAAAAA")
        paths = [*assets_of(page.text), "/s/assets/sw.js"]
        assert len(paths) > 10
        return [page.status_code, *(reader.get(path).status_code for path in paths)]


def test_fifty_readers_behind_one_address_are_served(proxy):
    with ThreadPoolExecutor(50) as people:
        statuses = [status for read in people.map(read_the_page, [proxy] * 50) for status in read]
    assert Counter(statuses) == {200: len(statuses)}
    assert len(statuses) > 500


def test_a_flood_from_one_address_is_bounded(proxy):
    """No more reaches the service than the burst and the rate allow."""

    def flood(_):
        with proxy.client() as client:
            return [client.post("/api/v1/shares/x/look", content=b"{}").status_code for _ in range(60)]

    began = time.monotonic()
    with ThreadPoolExecutor(20) as senders:
        statuses = Counter(status for sent in senders.map(flood, range(20)) for status in sent)
    allowed = BURST + PER_SECOND * (time.monotonic() - began)
    assert statuses[429] >= 1200 - allowed - 5
    assert sum(statuses.values()) - statuses[429] <= allowed + 5
    assert statuses[503] == statuses[502] == 0


def test_browsers_keep_versioned_assets_and_nothing_else(proxy):
    with proxy.client() as reader:
        page = reader.get("/s/x")
        found = {path: reader.get(path) for path in assets_of(page.text)}
        for path, answer in found.items():
            lasting = re.search(r"\.\w{16}\.(js|css|svg)$", path)
            expected = "public, max-age=31536000, immutable" if lasting else "no-store"
            assert answer.headers.get_list("cache-control") == [expected], path
        rest = ("/s/x", "/s/assets/sw.js", "/s/assets/receive.js", "/s/assets/none", "/api/v1/shares/x", "/livez")
        for path in rest:
            assert reader.get(path).headers.get_list("cache-control") == ["no-store"], path


def test_every_answer_has_one_hsts_header(proxy):
    """The service's and nginx's own, on both hosts."""
    with proxy.client() as reader, proxy.client(STAFF) as staff:
        answers = {
            "page": reader.get("/s/x"),
            "asset": reader.get("/s/assets/sw.js"),
            "problem": reader.get("/nowhere"),
            "metrics": reader.get("/metrics"),
            "too large": reader.post("/api/v1/shares/x/look", content=b"x" * 70_000),
            "staff": staff.get("/api/v1/me"),
        }
    for what, answer in answers.items():
        assert answer.headers.get_list("strict-transport-security") == ONE_HSTS, what
    assert (answers["metrics"].status_code, answers["too large"].status_code) == (404, 413)
    assert answers["staff"].status_code == 401, "this machine may reach the staff's routes, with a token"


def test_no_path_and_no_address_of_a_page_reaches_a_log(proxy):
    with proxy.client() as reader:
        reader.get("/api/v1/send/DUPONT_VIH.csv", headers={"Referer": f"https://{PUBLIC}/s/SECRET"})
        reader.get("/s/SECRET?lang=SECRET")
    logs = "".join(path.read_text() for path in (proxy.folder / "logs").iterdir())
    assert "GET 404" in logs
    assert "DUPONT" not in logs
    assert "SECRET" not in logs
