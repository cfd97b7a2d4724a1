"""Only `serve` and `db upgrade` create an installation; elsewhere a command says where it looked, and changes nothing.

Lesson 40: a command in the wrong folder created an installation and reported success (noms #3222).
"""

import shutil
from collections import defaultdict

import pytest
import typer

import cli
from tests.acceptance.people import send
from tests.acceptance.service import Installation
from tests.acceptance.test_commands import ARGUMENTS, commands
from tests.marks import first_values

NEED_NONE = {
    ("serve",),
    ("db", "upgrade"),
    ("config", "show"),
    ("db", "roles"),
    ("share", "issue"),
    ("send",),
    ("get",),
    ("sent",),
    ("watch",),
    ("audit", "verify-receipt"),
    ("audit", "verify-consistency"),
}
"""Every other command refuses; one that is added later is found here by itself."""

COMMANDS = [
    (*path, *(text.format_map(defaultdict(lambda: "A" * 22, backup=".")) for text in ARGUMENTS.get(path, ())))
    for path, command in commands(typer.main.get_command(cli.build()))
    if path not in NEED_NONE
]
OPENERS = [
    ("sweep",),
    ("doctor",),
    ("token", "create", "somebody"),
    ("token", "list"),
    ("audit", "retention"),
    ("audit", "export"),
    ("db", "check"),
    ("keys", "expire"),
    ("lockdown", "on"),
]
"""One command for each way of opening an installation."""
WITH_IDS = {("token", "revoke"), ("transfer", "delete"), ("share", "revoke"), ("audit", "receipt")}


def complete(words):
    return (*words, "A" * 22) if words in WITH_IDS else words


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """An installation with a transfer, signed, stopped."""
    installation = Installation(tmp_path_factory.mktemp("used"))
    with installation.serving() as server, server.http(installation.token()) as http:
        send(http)
    installation.run("audit", "checkpoint")
    return installation


def content(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("words", "there"),
    [*((words, "nothing") for words in COMMANDS), *((words, "a folder") for words in OPENERS)],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_where_there_is_no_installation_every_command_refuses(tmp_path, words, there):
    """It names the folder and the setting, and leaves nothing behind."""
    installation = Installation(tmp_path)
    if there == "a folder":
        installation.data.mkdir()
    before = content(tmp_path)
    ran = installation.run(*complete(words), code=2, typed="destroy\n")
    assert ran.out == ""
    assert str(installation.data) in ran.err
    assert "CADUCEE_DATA_DIR" in ran.err
    assert "Traceback" not in ran.err
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "words", first_values(3, (words for words in OPENERS if words[0] not in {"keys", "lockdown"})), ids=" ".join
)
@pytest.mark.parametrize("left", ["blobs", "an empty database file"])
def test_what_is_left_of_an_installation_is_none(used, tmp_path, words, left):
    """Blobs without a database, and a file that was touched. What needs less is in test_emergency_controls.py."""
    installation = Installation(tmp_path)
    shutil.copytree(used.data / "blobs", installation.data / "blobs")
    if left == "an empty database file":
        installation.database.parent.mkdir()
        installation.database.touch()
    before = content(tmp_path)
    assert "CADUCEE_DATA_DIR" in installation.run(*complete(words), code=2).err
    assert content(tmp_path) == before


@pytest.mark.parametrize("command", [("serve", "--workers", "1"), ("db", "upgrade")], ids=" ".join)
@pytest.mark.parametrize("kept", ["vault", "keys", "blobs"])
def test_a_lost_database_is_no_fresh_installation(used, tmp_path, command, kept):
    """Vault, signing key and blobs each remember that there was one, also once nothing is held."""
    installation = Installation(tmp_path)
    shutil.copytree(used.data / kept, installation.data / kept)
    assert "is this the right database" in installation.run(*command, code=2).err
    assert not (installation.data / "db").exists()


@pytest.mark.parametrize(
    "words", first_values(1, [("sweep",), ("token", "create", "x"), ("audit", "verify"), ("doctor",)]), ids=" ".join
)
@pytest.mark.parametrize(("store", "variable"), [("vault", "VAULT"), ("blobs", "BLOBS"), ("keys", "KEYS_DIR")])
def test_a_store_that_lies_elsewhere_and_is_missing_is_named(used, tmp_path, words, store, variable):
    """A volume that is not mounted, and a setting that was mistyped."""
    installation = Installation(tmp_path)
    shutil.copytree(used.data, installation.data)
    missing = tmp_path / "not-mounted"
    for there in (False, True):
        if there:
            missing.mkdir()
        said = installation.run(*words, code=2, **{variable: str(missing)}).err
        assert str(missing) in said
        assert f"CADUCEE_{variable}" in said
        assert missing.exists() == there
    assert list(missing.iterdir()) == []
    shutil.rmtree(installation.data / store)
    assert str(installation.data / store) in installation.run(*words, code=2).err
    assert not (installation.data / store).exists()


def test_a_lost_signing_key_is_replaced_only_on_an_operator_s_word(used, tmp_path):
    """A new key under the old origin would pass for the lost one."""
    installation = Installation(tmp_path)
    shutil.copytree(used.data, installation.data)
    shutil.rmtree(installation.data / "keys")
    assert "key_lost" in installation.run("audit", "checkpoint", code=2).err
    installation.run("audit", "new-log", "--reason", "key_lost")
    installation.run("audit", "verify")


def test_db_upgrade_creates_an_installation(tmp_path):
    """All of it: commands work at once."""
    installation = Installation(tmp_path)
    installation.run("db", "upgrade")
    installation.run("lockdown", "on")
    installation.run("token", "create", "laboratory")
    installation.run("audit", "verify")
