"""What `serve` refuses to start with, in one line that says what to do, and never with a traceback."""

import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.acceptance.people import send
from tests.acceptance.service import Installation, free_port, until
from tests.acceptance.warm_start import PROGRAM


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """An installation in use, stopped; tests copy it."""
    installation = Installation(tmp_path_factory.mktemp("used"))
    with installation.serving() as server, server.http(installation.token()) as http:
        send(http)
    return installation


@pytest.fixture
def copy(used, tmp_path):
    """A copy of the used installation to break."""
    installation = Installation(tmp_path / "copy")
    shutil.copytree(used.data, installation.data)
    return installation


def refused(installation, *words, command=None, **settings):
    """Starting (or another command) fails with exit code 2 and one line that holds these words."""
    arguments = command or ("serve", "--port", str(free_port()))
    ran = installation.run(*arguments, code=2, **settings)
    lines = [line for line in ran.err.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("cannot: ")
    assert ran.out == ""
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("url", ["http://127.0.0.1.example.org"])
def test_a_public_url_without_tls_is_refused_off_loopback(installation, url):
    """Links and passwords would travel in the clear."""
    refused(installation, "http://", "loopback", PUBLIC_URL=url)
    refused(installation, "http://", "loopback", PUBLIC_URL="https://files.example.org", STAFF_URL=url)
    assert not installation.database.exists(), "refused before anything is set up"


@pytest.mark.parametrize(
    "url", ["files.example.org", "https://x/path", "https://u:p@x", "https://x y", "https://x:99999", "https://x:zz"]
)
def test_a_public_url_that_is_no_origin_is_refused(installation, url):
    refused(installation, "CADUCEE_PUBLIC_URL", PUBLIC_URL=url)


def test_an_examination_creates_nothing(installation):
    """Else a mistyped data folder would be found in perfect health."""
    refused(installation, "there is no database", str(installation.data), command=("doctor",))
    assert not installation.data.exists()


def test_the_vault_of_another_install_is_refused(copy, tmp_path):
    """An operator's mix-up of mounts must not look like "everything was destroyed" (G1)."""
    other = Installation(tmp_path / "other")
    other.token()
    refused(copy, "vault", "another installation", VAULT=str(other.data / "vault"))
    refused(copy, "blobs", "another installation", BLOBS=str(other.data / "blobs"))


@pytest.mark.parametrize("store", ["vault", "blobs"])
def test_a_store_that_is_not_there_is_refused(copy, store):
    """What an unmounted volume leaves: an empty folder."""
    shutil.rmtree(copy.data / store)
    (copy.data / store).mkdir()
    refused(copy, store, "installation")


def test_a_fresh_database_beside_used_stores_is_refused(copy):
    """A mistyped CADUCEE_DATABASE_URL is no fresh install."""
    shutil.rmtree(copy.data / "db")
    refused(copy, "new", "in use")
    assert copy.key_files(), "nothing was destroyed"
    assert not (copy.data / "db").exists(), "nothing is left of the mistake"


def test_a_database_of_another_install_is_refused(copy, tmp_path):
    other = Installation(tmp_path / "other")
    other.token()
    shutil.rmtree(copy.data / "db")
    shutil.copytree(other.data / "db", copy.data / "db")
    refused(copy, "another installation")


def test_a_schema_of_another_version_is_refused_naming_the_command(copy):
    copy.alter("UPDATE alembic_version SET version_num = '0000'")
    refused(copy, "caducee db upgrade")
    assert copy.run("db", "check", code=None).code in {1, 2}


def test_a_damaged_database_is_refused_without_a_traceback(copy):
    copy.database.write_bytes(b"SQLite format 3\0" + b"\xff" * 8_000)
    for wal in copy.database.parent.glob("*-*"):
        wal.unlink()
    refused(copy)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "postgresql+psycopg://u:p@ss:SEKRET@host/x"),
        ("METRICS_BIND", "127.0.0.1:99999"),
        ("VAULT", "s3://bucket"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(installation, setting, value):
    command = ("token", "list") if setting == "DATABASE_URL" else ("config", "show")
    refused(installation, command=command, **{setting: value})


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_named_and_nothing_is_left_behind(installation, workers):
    """The same for any number of workers, and before an installation is made."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        serve = ("serve", "--port", port, "--workers", workers)
        refused(installation, f"port {port} of 127.0.0.1", "--port", "CADUCEE_PORT", command=serve)
        refused(installation, f"port {port} of ::", "--port", command=(*serve, "--host", "::"))
        refused(installation, f"port {port}", "--port", command=("serve",), PORT=port)
    assert not installation.data.exists()


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("192.0.2.1", ("no address 192.0.2.1", "--host")),
        ("2001:db8::1", ("no address 2001:db8::1", "--host")),
        ("no-such-host.invalid", ("no-such-host.invalid", "--host")),
        ("a..b", ("a..b", "--host")),
        ("", ("--host",)),
    ],
)
def test_an_address_that_this_machine_has_not_is_named(installation, host, words):
    refused(installation, *words, command=("serve", "--host", host, "--port", str(free_port())))
    assert not installation.data.exists()


def test_the_port_comes_from_the_environment_but_not_from_kubernetes(installation):
    """Kubernetes sets CADUCEE_PORT to a URL where a service is named caducee."""
    ran = installation.run("serve", code=2, PORT="99999")
    assert "CADUCEE_PORT" in ran.err
    installation.run("serve", "--help", PORT="tcp://10.0.0.1:8000")
    assert not installation.data.exists()


def test_a_public_url_in_a_secret_file_is_gone_by(tmp_path):
    """The port to listen on says nothing of the address behind a proxy."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "CADUCEE_PUBLIC_URL").write_text("https://files.example.org")
    port = free_port()
    environment = Installation(tmp_path / "main", SECRETS_DIR=str(secrets)).environment()
    command = [str(PROGRAM), "serve", "--port", str(port), "--workers", "1", "--no-scheduler"]
    serving = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answered() -> bool:
        try:
            asked = {"Host": "files.example.org"}
            return httpx.get(f"http://127.0.0.1:{port}/api/v1/me", headers=asked, trust_env=False).status_code == 401
        except httpx.TransportError:
            return False

    try:
        until(answered, seconds=30, what="an answer under the public name")
    finally:
        serving.terminate()
        serving.wait()


def test_every_store_can_lie_elsewhere(tmp_path):
    """Each on a volume of its own, as it should be."""
    elsewhere = {name: str(tmp_path / name.lower()) for name in ("VAULT", "BLOBS", "KEYS_DIR")}
    installation = Installation(tmp_path / "main", **elsewhere)
    with installation.serving() as server, server.http(installation.token()) as http:
        send(http)
        until(lambda: all(Path(folder).is_dir() for folder in elsewhere.values()), what="the scheduler's signing key")
    assert {path.name for path in installation.data.iterdir()} == {"db"}
    assert len(list((tmp_path / "vault").glob("*/*"))) == 3


def test_every_start_with_a_welcome_makes_a_token_of_the_same_owner(installation):
    """`make run`, today and tomorrow."""
    seen = set[str]()

    def made_another() -> bool:
        made = {token_id for (token_id,) in installation.rows("SELECT id FROM access_tokens")}
        return len(made) == len(seen) + 1

    for _ in range(2):
        with installation.serving("--welcome"):
            until(made_another, what="the token for today")
        seen.update(token_id for (token_id,) in installation.rows("SELECT id FROM access_tokens"))
    assert installation.rows("SELECT DISTINCT owner FROM access_tokens") == [("token:make run",)]
