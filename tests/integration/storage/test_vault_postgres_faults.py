"""A vault on PostgreSQL that is down, slow, altered, wrongly configured or somebody else's never counts as empty."""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.crypto.token import new_secret
from app.storage import vault_connections, vault_hours, vault_postgres, vault_rows
from app.storage.errors import VaultUnavailable
from app.storage.vault_instance import REQUIRED
from tests.integration.storage.vault_places import BEFORE, EXPIRY, HOUR, INSTALLATION, SECOND, put, some_name
from tests.vault_server import DEPLOY

pytestmark = pytest.mark.postgres

KEYS = "vault.keys_2026030114"
WRONG = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_error_verbosity": "default",
    "log_min_error_statement": "error",
    "synchronous_commit": "off",
}


@pytest.fixture
def vault(vault_server):
    vault = vault_server.vault()
    vault.adopt(INSTALLATION)
    return vault


@contextmanager
def stopped(server) -> Iterator[None]:
    """The server still accepts connections, and does not respond."""
    main = (server.data / "postmaster.pid").read_text().split()[0]
    pids = [int(pid) for pid in (main, *Path(f"/proc/{main}/task/{main}/children").read_text().split())]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_vault_that_hangs_is_out_of_reach_and_soon(vault, vault_server, monkeypatch):
    put(vault, name := some_name())
    for limit in ("CONNECT_SECONDS", "STATEMENT_SECONDS", "LOCK_SECONDS"):
        monkeypatch.setattr(vault_connections, limit, 2)
    node = vault_server.vault(installation_id=INSTALLATION)
    assert node.living([name]) == {name}
    began = time.monotonic()
    with stopped(vault_server), pytest.raises(VaultUnavailable):
        node.living([name])
    assert time.monotonic() - began < 60, "without a limit it would wait for ever"
    assert node.living([name]) == {name}


def test_a_stopped_server_is_out_of_reach_and_comes_back(vault, vault_server):
    key = put(vault, name := some_name())
    asks = (
        lambda: vault.open(name, BEFORE),
        lambda: vault.living([name]),
        lambda: vault.find({name.transfer_id}),
        lambda: list(vault.names()),
        vault.read_mark,
        vault.installation,
        vault.content,
        vault.configuration_problems,
    )
    vault_server.control("stop", "-m", "immediate")
    try:
        for ask in asks:
            with pytest.raises(VaultUnavailable):
                ask()
    finally:
        vault_server.control("start")
    assert (vault.open(name, BEFORE), vault.living([name])) == (key, {name})


def test_a_vault_without_free_connections_is_out_of_reach(vault, vault_server):
    put(vault, name := some_name())
    vault.close()
    vault_server.admin("ALTER ROLE caducee_vault CONNECTION LIMIT 1")
    try:
        with vault_server.connect(), pytest.raises(VaultUnavailable, match="too many connections"):
            vault_server.vault(installation_id=INSTALLATION).living([name])
    finally:
        vault_server.admin("ALTER ROLE caducee_vault CONNECTION LIMIT -1")


def test_idle_connections_that_the_server_ended_are_replaced(vault, vault_server):
    put(vault, name := some_name())
    vault_server.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'caducee_vault'")
    assert vault.living([name]) == {name}


def test_a_configuration_that_keeps_keys_is_refused_by_name_at_the_start_and_while_running(vault, vault_server):
    """A setting that is changed later is noticed before the next key is called destroyed."""
    put(vault, name := some_name())
    for setting, value in WRONG.items():
        vault_server.admin(f"ALTER ROLE caducee_vault SET {setting} = '{value}'")
    vault_server.admin("CREATE DATABASE another TEMPLATE template0")
    try:
        node = vault_server.vault()
        said = node.configuration_problems()
        for setting in WRONG:
            assert [each for each in said if each.startswith(f"{setting} is ") and ", must be " in each], said
        assert "it has another database another, must have only the vault's" in said
        with pytest.raises(VaultUnavailable, match="log_statement is all, must be none"):
            node.adopt(INSTALLATION)
        with pytest.raises(VaultUnavailable, match="log_statement is all"):
            node.destroy([name])
        assert node.holds(name)
    finally:
        vault_server.admin("DROP DATABASE another")
        vault_server.admin("ALTER ROLE caducee_vault RESET ALL")
    vault_server.vault().destroy([name])
    assert not vault.holds(name)


def test_a_role_that_may_not_erase_is_refused_at_the_start(vault_server):
    vault_server.admin("REVOKE pg_checkpoint, pg_monitor FROM caducee_vault")
    try:
        with pytest.raises(VaultUnavailable, match="GRANT pg_checkpoint") as refused:
            vault_server.vault().adopt(INSTALLATION)
        assert "shared_preload_libraries cannot be read" in str(refused.value)
    finally:
        vault_server.admin("GRANT pg_checkpoint, pg_monitor TO caducee_vault")


def test_a_database_that_lost_its_installation_still_expires_keys_and_proves_nothing(vault, vault_server):
    put(vault, due := some_name())
    vault_server.admin("DELETE FROM vault.installation", database="caducee_vault")
    with pytest.raises(VaultUnavailable, match="carries no installation id"):
        vault.purge(EXPIRY + SECOND)
    assert vault_server.admin("SELECT * FROM vault.keys", database="caducee_vault") == []
    with pytest.raises(VaultUnavailable):
        vault.holds(due)


def test_another_installation_s_vault_is_refused(vault, vault_server):
    put(vault, name := some_name())
    foreign = vault_server.vault(installation_id="installation-2")
    for refused in (lambda: foreign.holds(name), lambda: foreign.destroy([name]), foreign.destroy_everything):
        with pytest.raises(VaultUnavailable):
            refused()
    assert vault.living([name]) == {name}


def test_tables_and_keys_that_are_not_the_vault_s_are_strangers(vault, vault_server):
    vault_server.admin(
        "CREATE TABLE public.copy AS SELECT 1; CREATE TABLE vault.old_keys (k bytea);"
        " INSERT INTO vault.keys VALUES ('abcdefghijklmnopqrstuv', '', 1, 'x')",
        database="caducee_vault",
    )
    try:
        assert set(vault.strangers()) == {"public.copy", "vault.old_keys", "vault.keys"}
        assert vault.find({"abcdefghijklmnopqrstuv"}).misplaced == {"abcdefghijklmnopqrstuv"}
    finally:
        vault_server.admin("DROP TABLE public.copy", database="caducee_vault")


def test_an_altered_entry_does_not_open(vault, vault_server):
    put(vault, one := some_name())
    put(vault, other := some_name())
    vault_server.admin(
        f"UPDATE {KEYS} a SET wrapped = b.wrapped FROM {KEYS} b WHERE a.transfer_id <> b.transfer_id",
        database="caducee_vault",
    )
    for name in (one, other):
        with pytest.raises(VaultUnavailable, match="altered"):
            vault.open(name, BEFORE)


def test_a_listing_takes_pages(vault, monkeypatch):
    monkeypatch.setattr(vault_hours, "PAGE", 2)
    names = {some_name(EXPIRY + HOUR * (turn % 2), share=bool(turn % 3)) for turn in range(7)}
    for name in names:
        put(vault, name)
    claimed = next(name for name in names if name.share_id).of_claim
    vault.record_claim(claimed, new_secret())
    listed = list(vault.names())
    assert (len(listed), set(listed)) == (8, names | {claimed})


def test_a_key_that_somebody_reads_keeps_no_other_from_being_destroyed(vault, vault_server, monkeypatch):
    """All hour keys first: nothing of the hours opens, whatever happens to the rest."""
    names = [some_name(EXPIRY + HOUR * number, share=True) for number in range(5)]
    for name in names:
        put(vault, name)
    monkeypatch.setattr(vault_connections, "LOCK_SECONDS", 1)
    node = vault_server.vault(installation_id=INSTALLATION)
    with vault_server.connect() as console, console.transaction():
        console.execute(f"SELECT count(*) FROM {KEYS}")
        with pytest.raises(VaultUnavailable, match="2026030114"):
            node.destroy_everything()
        assert node.living(names) == set()
        assert node.held(names) == {names[0]}
    assert node.destroy_everything() == 1
    assert node.held(names) == set()


def test_many_hours_are_looked_up_and_destroyed(vault, monkeypatch):
    monkeypatch.setattr(vault_rows, "HOURS_PER_QUERY", 2)
    monkeypatch.setattr(vault_postgres, "HOURS_AT_ONCE", 2)
    names = [some_name(EXPIRY + HOUR * number, share=True) for number in range(5)]
    for name in names:
        put(vault, name)
    vault.record_claim(names[4].of_claim, new_secret())
    gone = [some_name(EXPIRY + HOUR * number) for number in range(7)]
    there = {*names, names[4].of_claim}
    assert vault.living([*there, *gone]) == vault.held([*there, *gone]) == there
    assert vault.destroy_everything() == 6
    assert vault.held(there) == set()


def test_the_shipped_configuration_is_the_required_one():
    shipped = dict(re.findall(r"(?m)^(\w+) = '(.*)'$", (DEPLOY / "vault-postgresql.conf").read_text()))
    required = {each.name: each.value for each in REQUIRED}
    assert {**required, "wal_init_zero": "off"} == shipped
