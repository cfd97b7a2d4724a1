"""Settings that cannot be meant stop the program, and the message says which, what was given, and what it may be.

Lesson 40: an unknown setting is dropped (pydantic-settings #985).
"""

import os
import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import SecretStr, ValidationError

from app.runtime import setting_names
from app.runtime.setting_display import SECRETS, setting_line
from app.runtime.setting_names import BadSecretsFolder, UnknownSetting, unknown_names
from app.runtime.settings import MAY_BE_EMPTY, Settings
from app.storage.s3_suspended import LARGEST_BLOB

ANY = ("", " ", '"7"', "7\r", "7\n8")
"""Wrong for every setting; the first only where the default is not empty."""

FOLDERS = ("~/caducee", "$DATA/caducee", "/", "/etc/passwd", "/etc/passwd/below", "/dev/null")
NUMBERS = ("-1", "1.0", "1_000", "+5", "many", "0x10", "\N{ARABIC-INDIC DIGIT FIVE}", "9" * 30)
DURATIONS = ("0", "never", "P1D", "-1h", "1.5h", "7 d", "7D", "999999999d")
ORIGINS = (
    "files.example.org",
    "ftp://x",
    "https://x/path",
    "https://x?query",
    "https://x#part",
    "https://u:SEKRET@x",
    "https://x y",
    "https://x:99999",
    "https://x:zz",
    "https://",
    "http://files.example.org",
    "http://127.0.0.1.example.org",
)
BUCKETS = (
    "gs://bucket",
    "S3://bucket",
    "s3://",
    "s3:///prefix",
    "s3://Bucket",
    "s3://b",
    "s3://bucket/../vault",
    "s3://bucket//x",
    "s3://u:SEKRET@host/bucket",
    "s3://bucket/a b",
    "s3://bucket/" + "x" * 201,
)
PROVIDER = {
    "oidc_issuer": "https://login.example.org/realms/hospital",
    "oidc_client_id": "caducee",
    "oidc_client_secret": "SEKRET",
    "oidc_role_claim": "groups",
    "oidc_staff": "depositors,biologists",
    "oidc_auditor": "auditors",
    "oidc_admin": "admins",
    "oidc_team_claim": "team",
    "oidc_acr": "eidas2,mfa",
    "oidc_logout": "false",
}
WRONG: dict[str, tuple[str, ...]] = {
    "data_dir": FOLDERS,
    "database_url": (
        "nonsense",
        "mysql://u:SEKRET@host/x",
        "postgres://u:SEKRET@host/x",
        "postgresql://u:SEKRET@host/x",
        "postgresql+psycopg://u:SEKRET@host",
        "postgresql+psycopg://u:SEKRET@host:99999/x",
        "postgresql+psycopg://u:p@ss:SEKRET@host/x",
        "sqlite://",
        "sqlite:///:memory:",
    ),
    "blobs": (*FOLDERS, *BUCKETS),
    "s3_endpoint": ORIGINS,
    "vault": (
        *FOLDERS,
        "s3://bucket",
        "postgresql+psycopg://u:SEKRET@host/x",
        "postgresql+psycopg://u:SEKRET@/x?host=db.example.org&sslmode=require",
        "postgresql+psycopg://u:SEKRET@localhost",
        "postgresql+psycopg://u:SEKRET@localhost:99999/x",
        "postgresql://u:SEKRET@localhost/x",
        "sqlite:////srv/vault.sqlite",
    ),
    "keys_dir": FOLDERS,
    "separate_users": ("ye", "2", "on purpose"),
    "sign_log": ("ye", "2", "here"),
    "public_url": ORIGINS,
    "staff_url": ORIGINS,
    "trusted_proxies": (
        "10.0.0.1/8",
        "localhost",
        "127.0.0.1:443",
        "10.1.2",
        "10.0.0.0/33",
        "fe80::1%eth0",
        "0.0.0.0/0",
        "::/0",
        "10.1.2.3,",
        "10.1.2.3,10.1.2.3",
        "10.1.2.3 10.1.2.4",
        "10.1.2.3;10.1.2.4",
    ),
    "min_lifetime": (*DURATIONS, "32d", "8d"),
    "max_lifetime": (*DURATIONS, "32d", "1m"),
    "default_lifetime": (*DURATIONS, "32d", "8d", "1m"),
    "claim_window": (*DURATIONS, "32d", "8d"),
    "password_attempts": (*NUMBERS, "0", "101"),
    "deadman": (*DURATIONS, "1s", "2d"),
    "orphan_grace": (*DURATIONS, "32d"),
    "audit_retention": (*DURATIONS, "31d"),
    "idle_timeout": (*DURATIONS, "2h"),
    "stall_timeout": (*DURATIONS, "2h"),
    "max_transfer_bytes": (*NUMBERS, "0", "50GiB"),
    "max_files": (*NUMBERS, "0"),
    "max_shares": (*NUMBERS, "0"),
    "min_free_bytes": (*NUMBERS, "1GB"),
    "organisation": (),
    "contact": (),
    "timezone": ("Paris", "UTC+1", "../UTC"),
    "brand_colour": ("green", "17605b", "#17605", "#17605bb"),
    "brand_logo": ("/nonexistent.svg", "/etc/passwd", "/"),
    "show_recipient": ("ye", "2"),
    "purposes": ("a,,b", "care,Care", ","),
    "argon2_time": (*NUMBERS, "0", "101"),
    "argon2_memory_kib": (*NUMBERS, "0", "31"),
    "argon2_lanes": (*NUMBERS, "0", "65"),
    "oidc_issuer": (
        "login.example.org",
        "http://login.example.org",
        "https://login.example.org?tenant=1",
        "https://u:SEKRET@login.example.org",
        "https://",
    ),
    "oidc_client_id": (),
    "oidc_client_secret": (),
    "oidc_role_claim": (),
    "oidc_staff": ("a,,b", "a,A"),
    "oidc_auditor": ("a,,b", "a,A"),
    "oidc_admin": ("a,,b", "a,A"),
    "oidc_team_claim": (),
    "oidc_acr": ("a,,b", "a,A"),
    "oidc_logout": ("ye", "2"),
    "metrics_bind": ("9464", "localhost", ":9464", "127.0.0.1:", "127.0.0.1:99999", "a b:1"),
    "log_format": ("xml", "JSON"),
}
"""For each setting, values that it cannot mean."""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in list(os.environ):
        if name.startswith(setting_names.PREFIX):
            monkeypatch.delenv(name)


def variable(field):
    return f"CADUCEE_{field.upper()}"


def test_every_setting_has_its_wrong_values():
    """Add a row for a new setting, with each kind of value that it cannot mean."""
    assert WRONG.keys() == Settings.model_fields.keys()


CASES = [
    (field, value)
    for field, wrong in WRONG.items()
    for value in (*wrong, *(each for each in ANY if each or field not in MAY_BE_EMPTY))
]


@pytest.mark.parametrize(("field", "value"), CASES, ids=lambda each: repr(each)[:40])
def test_a_value_that_cannot_be_meant_is_refused_with_its_reason(monkeypatch, field, value):
    """One line names the variable, what was given, and what it may be."""
    monkeypatch.setenv(variable(field), value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    (error,) = refused.value.errors()
    line = setting_line(dict(error))
    assert line.startswith(variable(field)) or f"{variable(field)} " in line, "names the variable"
    assert re.search(r"\b(must|is empty|contains|begins|above|at most|every address|empty part|twice)\b", line)
    assert "\n" not in line
    assert "SEKRET" not in line
    if error["loc"] and field not in SECRETS and "@" not in value:
        assert repr(value[:80])[1:-1] in line, "quotes what was given"


def test_what_was_given_is_quoted_for_no_secret():
    """The list of secrets is that of the fields' types."""
    typed = {name for name, field in Settings.model_fields.items() if SecretStr in _types(field.annotation)}
    assert typed == SECRETS


def _types(annotation):
    yield annotation
    for each in get_args(annotation):
        yield from _types(each)


@pytest.mark.parametrize("field", sorted(WRONG.keys() - {"brand_logo"}))
def test_documented_values_are_accepted(monkeypatch, field):
    """The opposite: a setting that refuses everything would pass the test above. A logo needs a file: test_brand.py."""
    right = {
        "database_url": "postgresql+psycopg://caducee@db.example.org/caducee",
        "separate_users": "1",
        "sign_log": "0",
        "trusted_proxies": "127.0.0.1, ::1,10.1.0.0/16",
        "organisation": "Hôpital d'Exemple",
        "contact": "transfers@example.org",
        "timezone": "Europe/Paris",
        "show_recipient": "0",
        "brand_colour": "#17605b",
        "purposes": "care,screening",
        "metrics_bind": "127.0.0.1:9464",
        "log_format": "json",
        "public_url": "https://Files.Example.org/",
        "staff_url": "http://127.0.0.1:8001",
    }
    for name in ("data_dir", "blobs", "vault", "keys_dir"):
        right[name] = f"/nonexistent/{name}"
    default = Settings().shown()[variable(field)]
    if field == "s3_endpoint":
        right |= {field: "https://s3.example.org"}
        monkeypatch.setenv("CADUCEE_BLOBS", "s3://bucket/prefix/below")
    if field.startswith("oidc_"):
        right |= PROVIDER
        for name, value in PROVIDER.items():
            monkeypatch.setenv(variable(name), value)
    monkeypatch.setenv(variable(field), right.get(field) or str(default))
    Settings()


def test_a_provider_is_set_as_a_whole(monkeypatch):
    """Half of it would let nobody in, or everybody sign in by token."""
    for name, value in PROVIDER.items():
        monkeypatch.setenv(variable(name), value)
    for name in ("oidc_issuer", "oidc_client_id", "oidc_client_secret"):
        monkeypatch.delenv(variable(name))
        with pytest.raises(ValidationError, match=variable(name)):
            Settings()
        monkeypatch.setenv(variable(name), PROVIDER[name])
    for name in ("oidc_staff", "oidc_auditor", "oidc_admin"):
        monkeypatch.delenv(variable(name))
    with pytest.raises(ValidationError, match="nobody could sign in"):
        Settings()


def test_a_bucket_and_its_server_are_set_together(monkeypatch):
    """An endpoint alone would be forgotten, and files would lie on the disk."""
    monkeypatch.setenv("CADUCEE_S3_ENDPOINT", "https://s3.example.org")
    with pytest.raises(ValidationError, match="CADUCEE_BLOBS is no s3://bucket/prefix"):
        Settings()
    monkeypatch.setenv("CADUCEE_BLOBS", "s3://bucket")
    assert str(Settings().blobs_bucket) == "s3://bucket"
    monkeypatch.setenv("CADUCEE_MAX_TRANSFER_BYTES", str(LARGEST_BLOB + 1))
    with pytest.raises(ValidationError, match=f"must be at most {LARGEST_BLOB}"):
        Settings()


def test_staff_sign_in_on_an_origin_of_their_own(monkeypatch):
    """Recipients' pages, which anybody may open, never share an origin with sessions; a loopback is one machine's."""
    for name, value in PROVIDER.items():
        monkeypatch.setenv(variable(name), value)
    assert Settings().offers_sign_in
    monkeypatch.setenv("CADUCEE_PUBLIC_URL", "https://files.example.org")
    with pytest.raises(ValidationError, match="CADUCEE_STAFF_URL must be another origin"):
        Settings()
    monkeypatch.setenv("CADUCEE_STAFF_URL", "https://staff.example.org")
    assert Settings().offers_sign_in


def test_the_providers_secret_is_masked_as_a_whole(monkeypatch):
    monkeypatch.setenv("CADUCEE_OIDC_CLIENT_SECRET", "x://SEKRET")
    for name in PROVIDER.keys() - {"oidc_client_secret"}:
        monkeypatch.setenv(variable(name), PROVIDER[name])
    assert Settings().shown()["CADUCEE_OIDC_CLIENT_SECRET"] == "***"
    assert "SEKRET" not in repr(Settings())


@pytest.mark.parametrize(
    "places",
    [
        {"VAULT": "{data}/blobs"},
        {"VAULT": "{data}/blobs/vault"},
        {"BLOBS": "{data}/vault/blobs"},
        {"KEYS_DIR": "{data}/vault"},
        {"VAULT": "{data}/db"},
        {"VAULT": "{data}"},
        {"BLOBS": "{data}"},
        {"VAULT": "{data}/link"},
        {"DATABASE_URL": "sqlite:///{data}/vault/caducee.sqlite"},
    ],
    ids=str,
)
def test_stores_that_lie_in_each_other_are_refused(monkeypatch, tmp_path, places):
    """Keys beside ciphertext: one backup would hold both."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "blobs")
    monkeypatch.setenv("CADUCEE_DATA_DIR", str(tmp_path))
    for name, place in places.items():
        monkeypatch.setenv(f"CADUCEE_{name}", place.format(data=tmp_path))
    with pytest.raises(ValidationError, match="folder of its own"):
        Settings()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("CADUCEE_MAX_LIFTIME", "CADUCEE_MAX_LIFETIME"),
        ("CADUCEE_TRUSTED_PROXY", "CADUCEE_TRUSTED_PROXIES"),
        ("CADUCEE_DATADIR", "CADUCEE_DATA_DIR"),
        ("CADUCEE_max_lifetime", "CADUCEE_MAX_LIFETIME"),
        ("caducee_data_dir", "CADUCEE_DATA_DIR"),
        ("CADUCEE_SECRET_DIR", "CADUCEE_SECRETS_DIR"),
        ("CADUCEE_TOKEN_", "CADUCEE_TOKEN"),
        ("CADUCEE_METRICS_PORT", "CADUCEE_METRICS_BIND"),
        ("CADUCEE_", "CADUCEE_"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(monkeypatch, tmp_path, name, nearest):
    """As a variable and as a secret file, and never with its value."""
    with monkeypatch.context() as patched:
        patched.setenv(name, "SEKRET")
        with pytest.raises(UnknownSetting, match=f"{name} is no setting: is {nearest}") as refused:
            Settings()
        assert "SEKRET" not in str(refused.value)
    (tmp_path / name).write_text("SEKRET")
    monkeypatch.setenv("CADUCEE_SECRETS_DIR", str(tmp_path))
    with pytest.raises(UnknownSetting, match=f"secret file {name} is no setting: is {nearest}"):
        Settings()


def test_names_of_others_are_left_alone():
    """Design: clients, the program's own, and what Kubernetes sets for services of this name."""
    others = {
        "CADUCEE": "/opt/caducee/bin/caducee",
        "CADUCEE_SERVER": "https://staff.example.org",
        "CADUCEE_TOKEN": "cad_x",
        "CADUCEE_PORT": "tcp://10.0.0.1:8000",
        "CADUCEE_PORT_8000_TCP_ADDR": "10.0.0.1",
        "CADUCEE_SERVICE_HOST": "10.0.0.1",
        "CADUCEE_STAFF_SERVICE_PORT": "8000",
        "CADUCEE_STAFF_PORT": "tcp://10.0.0.1:8000",
        "CADUCEE_STAFF_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "CADUCEE_SERVE_PID": "1",
        "CADUCEE_FAULT": "x",
        "CADUCEE_REQUIRE_ALL": "1",
        "CADUCEE_TEST_X": "1",
    }
    assert unknown_names(others, ()) == []
    assert unknown_names({"CADUCEE_METRICS_PORT": "9464"}, ()) == ["CADUCEE_METRICS_PORT"]


def test_the_source_of_each_value_is_known(monkeypatch, tmp_path):
    (tmp_path / "CADUCEE_MAX_LIFETIME").write_text("1d\n")
    (tmp_path / "CADUCEE_DEADMAN").write_text("20m\n")
    (tmp_path / "another-secret").write_bytes(b"\xff")
    monkeypatch.setenv("CADUCEE_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("CADUCEE_DEADMAN", "30m")
    settings = Settings()
    sources = settings.sources()
    assert (settings.shown()["CADUCEE_MAX_LIFETIME"], settings.shown()["CADUCEE_DEADMAN"]) == ("1d", "30m")
    assert sources["CADUCEE_MAX_LIFETIME"] == f"secret file {tmp_path / 'CADUCEE_MAX_LIFETIME'}"
    assert sources["CADUCEE_DEADMAN"] == "environment"
    assert sources["CADUCEE_CONTACT"] == "default"


def test_a_folder_of_secrets_that_cannot_be_read_is_refused(monkeypatch, tmp_path):
    """pydantic-settings warns, and goes on with the defaults."""
    for folder in (tmp_path / "absent", Path("/etc/passwd"), ""):
        monkeypatch.setenv("CADUCEE_SECRETS_DIR", str(folder))
        with pytest.raises(BadSecretsFolder, match="CADUCEE_SECRETS_DIR"):
            Settings()
    monkeypatch.setenv("CADUCEE_SECRETS_DIR", str(tmp_path))
    (tmp_path / "CADUCEE_CONTACT").write_bytes(b"SEKRET\xff")
    with pytest.raises(BadSecretsFolder, match="CADUCEE_CONTACT") as refused:
        Settings()
    assert "SEKRET" not in str(refused.value)
    (tmp_path / "CADUCEE_CONTACT").unlink()
    (tmp_path / "CADUCEE_CONTACT").mkdir()
    with pytest.raises(BadSecretsFolder, match="CADUCEE_CONTACT"):
        Settings()


def test_a_relative_folder_is_resolved(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CADUCEE_VAULT", "elsewhere")
    shown = Settings().shown()
    assert (shown["CADUCEE_DATA_DIR"], shown["CADUCEE_VAULT"]) == (f"{tmp_path}/var", f"{tmp_path}/elsewhere")
