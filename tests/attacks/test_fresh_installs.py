"""Lesson 22: two fresh installs share no secret; nothing secret has a default (CentreStack CVE-2025-30406)."""

import stat

import pytest

from tests.acceptance.people import send, try_claim
from tests.acceptance.service import Installation


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two installations after their first deposit, the shares they made, and the second one's server."""
    installations = [Installation(tmp_path_factory.mktemp(name)) for name in ("one", "two")]
    with installations[0].serving() as server, server.http(installations[0].token()) as http:
        share = send(http)
    with installations[1].serving() as server, server.http(installations[1].token()) as http:
        yield installations, [share, send(http)], server


def secrets_of(installation):
    """Every file that holds a secret or an identity, and every row that does."""
    stores = [
        path
        for path in installation.data.rglob("*")
        if path.is_file() and path.parent != installation.database.parent and path.name != "CACHEDIR.TAG"
    ]
    values = {path.read_bytes() for path in stores if path.stat().st_size}
    queries = {
        "service_state": "installation_id, log_origin",
        "access_tokens": "id, digest",
        "transfers": "id, owner_wrap",
        "shares": "id, link_proof_digest, verifier_digest, argon2_salt, wrapped_key",
        "files": "blob_id, sealed_meta",
        "audit_entries": "content, leaf_hash",
    }
    for table, columns in queries.items():
        values |= {value for row in installation.rows(f"SELECT {columns} FROM {table}") for value in row}
    return values


def test_two_fresh_installs_share_no_secret(two):
    (one, other), (share, another), _ = two
    mine, theirs = secrets_of(one), secrets_of(other)
    assert min(len(mine), len(theirs)) > 15, "there is something to compare"
    assert not mine & theirs
    assert len({share.secret, another.secret, share.password, another.password, share.client_key}) == 5


def test_a_token_or_link_of_one_is_nothing_to_the_other(two):
    (one, _), (share, _), server = two
    with server.http(one.token(name="of the first")) as http:
        assert http.get("/api/v1/me").status_code == 401
        assert try_claim(http, share).status_code == 404


def test_only_the_services_user_can_look_into_a_fresh_data_folder(two):
    """0600 and 0700 throughout, whatever the umask of whoever started it."""
    for installation in two[0]:
        for path in (installation.data, *installation.data.rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, f"{path}: {path.stat().st_mode:o}"


def test_settings_show_no_secret_and_have_none_by_default(two):
    shown = two[0][0].run("config", "show", "--json").json
    secret = [name for name in shown if any(word in name for word in ("SECRET", "PASSWORD", "TOKEN", "PEPPER", "SALT"))]
    assert shown["CADUCEE_OIDC_CLIENT_SECRET"] is None
    known = {"CADUCEE_PASSWORD_ATTEMPTS", "CADUCEE_OIDC_CLIENT_SECRET"}
    assert set(secret) <= known, "what a fresh install needs, it makes itself"
    for user, query in (("caducee:hunter2@", ""), ("caducee:hun%40ter2%3A@", ""), ("c@", "?sslpassword=hunter2&x=y")):
        url = f"postgresql+psycopg://{user}db.example/caducee{query}"
        masked = two[0][0].run("config", "show", "--json", DATABASE_URL=url)
        assert "ter2" not in masked.out + masked.err
        assert "db.example" in masked.json["CADUCEE_DATABASE_URL"]
    malformed = "postgresql+psycopg://caducee:hun@ter2:@db.example/caducee"
    assert "ter2" not in two[0][0].run("config", "show", code=2, DATABASE_URL=malformed).err
