"""Lockdown, revoking tokens and destroying keys, each with the one store that it needs and nothing else.

Lesson 41: an emergency control that needs everything healthy, such as a lockdown that needs the vault mounted.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.people import claim, send, try_claim
from tests.acceptance.service import Installation, free_port, until
from tests.marks import first_values

CONTROLS = [
    ("lockdown", "on"),
    ("lockdown", "status"),
    ("lockdown", "off"),
    ("intake", "off"),
    ("intake", "status"),
    ("intake", "on"),
    ("token", "list"),
    ("token", "revoke", "A" * 22),
    ("session", "list"),
    ("session", "revoke", "A" * 22),
]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation that holds one transfer, stopped; tests copy it."""
    installation = Installation(tmp_path_factory.mktemp("used"))
    with installation.serving() as server, server.http(installation.token()) as http:
        send(http)
    return installation


@pytest.fixture
def copy(used: Installation, tmp_path: Path) -> Installation:
    """A copy to break."""
    installation = Installation(tmp_path / "copy")
    shutil.copytree(used.data, installation.data)
    return installation


def lose(installation: Installation, *stores: str) -> None:
    """An unmounted volume leaves an empty folder."""
    for store in stores:
        (installation.data / store).rename(installation.data / f"{store}-gone")
        (installation.data / store).mkdir(mode=0o700)


def remembered(installation: Installation) -> int:
    """How many entries of the log the vault remembers."""
    size: int = json.loads((installation.data / "vault" / "high-water").read_text())["log_size"]
    return size


def lock_and_revoke(installation: Installation) -> None:
    """Every control of the database, and what it does."""
    made = installation.rows("SELECT id FROM access_tokens")[0][0]
    assert "locked down since" in installation.run("lockdown", "on").err
    assert installation.run("lockdown", "status", "--json").json["locked_down"] is True
    installation.run("token", "revoke", made)
    assert [
        token["revoked_at"] is not None for token in installation.run("token", "list", "--json").json["tokens"]
    ] == [True]
    assert installation.rows("SELECT locked_down_at IS NULL FROM service_state") == [(0,)]
    installation.run("lockdown", "off")
    assert installation.rows("SELECT locked_down_at IS NULL FROM service_state") == [(1,)]


def test_neither_vault_nor_blobs_are_needed(copy: Installation) -> None:
    lose(copy, "vault", "blobs")
    lock_and_revoke(copy)
    assert [*(copy.data / "vault").iterdir(), *(copy.data / "blobs").iterdir()] == [], "nothing was created there"


def test_no_vault_of_another_installation_stands_in_the_way(copy: Installation, tmp_path: Path) -> None:
    other = Installation(tmp_path / "other")
    other.token()
    shutil.rmtree(copy.data / "vault")
    shutil.copytree(other.data / "vault", copy.data / "vault")
    lock_and_revoke(copy)


@pytest.mark.parametrize(
    "altered",
    [
        "clock_problem = 'a year ahead of the boot clock'",
        "time_mark = time_mark + 10 * 365 * 86400000000",
        "anchor_boot_seconds = 0, anchor_at = 0",
        "rolled_back_at = time_mark",
    ],
)
def test_no_clock_has_to_be_trusted_and_no_restore_accepted(copy: Installation, altered: str) -> None:
    assert copy.alter(f"UPDATE service_state SET {altered}") == 1
    lock_and_revoke(copy)


def test_a_database_that_was_rolled_back_is_locked_down(copy: Installation, tmp_path: Path) -> None:
    """`serve` refuses it; the controls do not."""
    backup = tmp_path / "backup"
    shutil.copytree(copy.data / "db", backup)
    with copy.serving() as server, server.http(copy.token()) as http:
        send(http)
        entries = copy.rows("SELECT count(*) FROM audit_entries")[0][0]
        until(lambda: remembered(copy) >= entries, what="a sweep that lets the vault remember them")
    shutil.rmtree(copy.data / "db")
    shutil.copytree(backup, copy.data / "db")
    assert "database_rolled_back" in copy.run("serve", "--port", str(free_port()), code=2).err
    lock_and_revoke(copy)


def test_a_lockdown_without_a_vault_stops_the_running_service(tmp_path: Path) -> None:
    """Also a download that runs, and a token."""
    installation = Installation(tmp_path)
    installation.make()
    made = installation.run("token", "create", "lab", "--json").json
    with installation.serving() as server, server.http(made["token"]) as http:
        claimed = claim(http, share := send(http, bytes(100_000)))
        lose(installation, "vault")
        installation.run("lockdown", "on")
        assert claimed.get().json()["code"] == "locked_down"
        assert claimed.get("blobs/0").json()["code"] == "locked_down"
        assert try_claim(http, share).json()["code"] == "locked_down"
        assert "locked_down" in http.get("/readyz").json()["reasons"]
        installation.run("token", "revoke", made["id"])
        assert http.get("/api/v1/me").status_code == httpx.codes.UNAUTHORIZED


@pytest.mark.parametrize("command", [*CONTROLS, ("lockdown", "destroy-all-keys")], ids=" ".join)
def test_where_nothing_is_nothing_is_created(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Lesson 40: a mistyped data folder must not look like a lockdown that worked."""
    installation = Installation(tmp_path)
    ran = installation.run(*command, typed="destroy\n", code=2)
    assert "there is no database" in ran.err or "destroy" in command[1]
    assert str(installation.data) in ran.err or "destroy" in command[1]
    assert "Traceback" not in ran.err
    assert not installation.data.exists()


@pytest.mark.parametrize("command", first_values(3, CONTROLS), ids=" ".join)
def test_an_outdated_schema_is_refused_by_name(copy: Installation, command: tuple[str, ...]) -> None:
    copy.alter("UPDATE alembic_version SET version_num = '0003'")
    ran = copy.run(*command, code=2)
    assert "caducee db upgrade" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("command", first_values(3, CONTROLS), ids=" ".join)
def test_a_schema_that_nobody_has_taken_into_use_is_refused(tmp_path: Path, command: tuple[str, ...]) -> None:
    installation = Installation(tmp_path)
    installation.run("db", "upgrade")
    installation.alter("DELETE FROM service_state")
    shutil.rmtree(installation.data / "vault")
    assert "nobody has taken this database into use" in installation.run(*command, code=2).err
    assert not (installation.data / "vault").exists()


# Every key at once


def destroy_all_keys(installation: Installation, code: int = 0, **settings: str) -> list[str]:
    """What the command says, line by line."""
    ran = installation.run("lockdown", "destroy-all-keys", typed="destroy\n", code=code, **settings)
    assert "Traceback" not in ran.err
    return ran.err.splitlines()


def position(lines: list[str], words: str) -> int:
    """Where these words are said first."""
    return next(number for number, line in enumerate(lines) if words in line)


def test_destroying_all_keys_locks_down_and_stays_locked_down(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    with installation.serving() as server, server.http(installation.token()) as http:
        send(http)
        said = destroy_all_keys(installation)
        assert position(said, "locked down since") < position(said, "destroyed 2 keys, ended 1 transfers")
        assert any("caducee lockdown off" in line for line in said)
        assert installation.files("vault") == []
        answer = http.put("/api/v1/send/a", params={"recipient": "r"}, content=b"x")
        assert answer.json()["code"] == "locked_down"
        until(lambda: not installation.files("blobs"), what="the end of the bytes")
        installation.run("lockdown", "off")
        send(http)
    begun = [entry["event"] for entry in installation.run("audit", "log", "--json").json["entries"]]
    assert begun.index("lockdown.begun") < begun.index("keys.all_destroyed") < begun.index("transfer.denied")


def pour(http: httpx.Client, stop: threading.Event, codes: list[str]) -> None:
    """Deposit one after the other until told to stop."""
    while not stop.is_set():
        answer = http.put("/api/v1/send/a", params={"recipient": "r", "expires_in": "1h"}, content=b"x")
        codes.append("taken" if answer.is_success else answer.json()["code"])
        time.sleep(0.005)


@pytest.fixture
def pouring(tmp_path: Path) -> Iterator[tuple[Installation, list[str]]]:
    """A service to which two depositors send without a pause."""
    installation = Installation(tmp_path)
    token, stop, codes = installation.token(), threading.Event(), list[str]()
    with installation.serving() as server, server.http(token) as first, server.http(token) as second:
        threads = [threading.Thread(target=pour, args=(http, stop, codes)) for http in (first, second)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: codes.count("taken") > 10, what="some deposits")
            yield installation, codes
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def test_nothing_made_meanwhile_survives_the_destruction_of_all_keys(pouring: Any) -> None:
    """Deposits go on while the command runs: none of them has a key afterwards."""
    installation, codes = pouring
    destroy_all_keys(installation)
    assert installation.files("vault") == []
    assert "locked_down" in codes
    until(
        lambda: not installation.rows("SELECT 1 FROM transfers WHERE state IN ('receiving', 'live')"), what="all ends"
    )
    assert installation.files("vault") == []


def test_destroying_all_keys_needs_no_blobs(copy: Installation) -> None:
    lose(copy, "blobs")
    assert "ended 1 transfers" in destroy_all_keys(copy)[-1]
    assert copy.files("vault") == []
    assert copy.rows("SELECT state FROM transfers") == [("denied",)]


def test_without_a_vault_the_lockdown_begins_all_the_same_and_nothing_is_called_destroyed(copy: Installation) -> None:
    lose(copy, "vault")
    said = destroy_all_keys(copy, code=2)
    assert any("locked down since" in line for line in said)
    assert not any("keys, ended" in line or "all keys are destroyed" in line for line in said)
    assert copy.run("lockdown", "status", "--json").json["locked_down"] is True
    assert copy.rows("SELECT state FROM transfers") == [("live",)], "its keys may still be there"


def test_the_database_of_another_installation_is_not_locked_down(copy: Installation, tmp_path: Path) -> None:
    """A mistyped URL: the keys were meant, somebody else's service was not."""
    other = Installation(tmp_path / "other")
    with other.serving() as server, server.http(other.token()) as http:
        send(http)
    said = destroy_all_keys(copy, code=2, DATABASE_URL=f"sqlite:///{other.database}")
    assert any("do not belong together" in line for line in said)
    assert copy.files("vault") == []
    assert other.run("lockdown", "status", "--json").json["locked_down"] is False
    assert other.rows("SELECT state FROM transfers") == [("live",)]


@pytest.mark.parametrize("column", ["created_at", "expires_at"])
def test_a_damaged_row_does_not_save_the_keys(copy: Installation, column: str) -> None:
    assert copy.alter(f"UPDATE transfers SET {column} = 'never'") == 1
    said = destroy_all_keys(copy, code=2)
    assert any("all keys are destroyed" in line for line in said)
    assert copy.files("vault") == []
    assert copy.run("lockdown", "status", "--json").json["locked_down"] is True


def test_a_control_that_the_database_undoes_exits_2_and_its_trigger_is_named(copy: Installation) -> None:
    (token,) = copy.rows("SELECT id FROM access_tokens")[0]
    assert "trigger" not in copy.run("db", "check").out
    for table, column in (("service_state", "locked_down_at"), ("access_tokens", "revoked_at")):
        body = f"BEGIN UPDATE {table} SET {column} = NULL; END"
        copy.alter(f"CREATE TRIGGER undo_{column} AFTER UPDATE OF {column} ON {table} {body}")
        if table == "service_state":
            assert "not locked down" in copy.run("lockdown", "on", code=2).err
            assert "trigger undo_locked_down_at: differs from" in copy.run("db", "check", code=1).out
    assert "not revoked" in copy.run("token", "revoke", "--", token, code=2).err


def test_a_database_with_an_old_schema_does_not_save_the_keys(copy: Installation) -> None:
    copy.alter("UPDATE alembic_version SET version_num = '0003'")
    said = destroy_all_keys(copy, code=2)
    assert any("caducee db upgrade" in line for line in said)
    assert any("all keys are destroyed" in line for line in said)
    assert copy.files("vault") == []


def test_a_running_deposit_ends_with_a_lockdown(tmp_path: Path) -> None:
    """Refused, and nothing is left of it: no key, no byte, no open transfer."""
    installation = Installation(tmp_path)
    with installation.serving() as server, server.http(installation.token()) as http:

        def body() -> Iterator[bytes]:
            yield bytes(200_000)
            until(installation.key_files, what="the transfer")
            installation.run("lockdown", "on")
            until(lambda: not installation.key_files(), what="the end of the transfer, without another byte")
            yield b"more"

        answer = http.put("/api/v1/send/a", params={"recipient": "r"}, content=body())
        assert (answer.status_code, answer.json()["code"]) == (503, "locked_down")
        assert installation.key_files() == []
        until(lambda: not installation.files("blobs"), what="the end of the bytes")
        until(lambda: installation.rows("SELECT state FROM transfers") == [("verified",)], what="its end")
