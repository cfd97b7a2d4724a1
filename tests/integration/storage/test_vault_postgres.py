"""The key vault on PostgreSQL keeps nothing that was destroyed, and never takes a failing server for an empty vault."""

import threading

import psycopg
import pytest

from app.storage import vault_connections, vault_erasure
from app.storage.errors import KeyGone, VaultUnavailable
from app.storage.key_vault import PurgeReport
from tests.integration.storage.vault_places import BEFORE, EXPIRY, HOUR, INSTALLATION, put, some_name

pytestmark = pytest.mark.postgres

KEYS = "vault.keys_2026030114"


@pytest.fixture
def vault(vault_server):
    vault = vault_server.vault()
    vault.adopt(INSTALLATION)
    return vault


class Secrets:
    """What must be nowhere: hour keys, shred keys, and shred keys as the vault stores them."""

    def __init__(self, server) -> None:
        self._server = server
        self._seen: dict[str, bytes] = {}

    def note(self, *keys: bytes) -> None:
        self._seen.update({f"shred key {len(self._seen)}": key for key in keys})

    def note_table(self, table: str, column: str) -> None:
        rows = self._server.admin(f"SELECT {column} FROM {table}", database="caducee_vault")
        for number, (value,) in enumerate(rows):
            self._seen[f"{table}.{column} {number}"] = bytes(value)

    def found(self) -> list[str]:
        """Which of them lie in which file of the instance, as bytes or in hexadecimal."""
        files = {path: path.read_bytes() for path in self._server.data.rglob("*") if path.is_file()}
        return [
            f"{name} in {path.relative_to(self._server.data)}"
            for name, key in self._seen.items()
            for path, content in files.items()
            if key in content or key.hex().encode() in content
        ]


def test_no_byte_of_a_destroyed_key_is_left(vault, vault_server):
    """G2: transfers that end early, one of them the last of its page; statistics, errors, slow statements and an open
    snapshot, which all make copies elsewhere; then the whole hour.
    """
    secrets = Secrets(vault_server)
    early, last, living = [some_name(share=bool(turn % 2)) for turn in range(3)], some_name(), some_name()
    secrets.note(*(put(vault, name) for name in [*early, last]))
    secrets.note_table(KEYS, "wrapped")
    kept = put(vault, living)
    with vault_server.connect(user="postgres") as console, console.transaction():
        console.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        console.execute("SELECT count(*) FROM vault.marks")  # a snapshot that still sees every key
        vault_server.admin(f"ANALYZE {KEYS}; ANALYZE; SELECT pg_sleep(0.1)", database="caducee_vault")
        with vault_server.connect() as own, pytest.raises(psycopg.Error):
            own.execute(f"INSERT INTO {KEYS} SELECT transfer_id, share_id, expiry + 86400, wrapped FROM {KEYS}")
        vault.destroy(early)
        vault.destroy([last])
    assert secrets.found() == []
    assert vault.open(living, BEFORE) == kept
    secrets.note_table("vault.hour_2026030114", "key")
    secrets.note_table(KEYS, "wrapped")
    assert secrets.found() != [], "what lives is on the disk, so the search finds what is there"
    assert vault.purge(EXPIRY + HOUR) == PurgeReport(1, 1, (), 0)
    assert secrets.found() == []


def test_a_deleted_key_counts_as_held_until_its_bytes_are_gone(vault, vault_server, monkeypatch):
    """A crash between the DELETE and the erasure loses nothing: any later erasure, by any node, ends it."""
    put(vault, name := some_name())
    secrets = Secrets(vault_server)
    secrets.note_table(KEYS, "wrapped")

    def crash(*_anything):
        raise VaultUnavailable("killed")

    with monkeypatch.context() as killed:
        killed.setattr(vault_erasure, "_pass_the_wal", crash)
        with pytest.raises(VaultUnavailable):
            vault.destroy([name])
    assert (vault.living([name]), vault.held([name]), vault.find({name.transfer_id}).names) == (set(), {name}, {name})
    with pytest.raises(KeyGone):
        vault.open(name, BEFORE)
    assert secrets.found() != []
    other = vault_server.vault(installation_id=INSTALLATION)
    assert (other.purge(BEFORE), other.holds(name)) == (PurgeReport(0, 0, (), 0), False)
    assert secrets.found() == []


def test_many_who_destroy_at_once_share_an_erasure(vault, vault_server, monkeypatch):
    names = [some_name() for _ in range(12)]
    for name in names:
        put(vault, name)
    passes = []
    passed = vault_erasure._pass_the_wal

    def count(connection):
        passes.append(1)
        passed(connection)

    monkeypatch.setattr(vault_erasure, "_pass_the_wal", count)
    nodes = [vault, vault_server.vault(installation_id=INSTALLATION)]
    threads = [threading.Thread(target=nodes[turn % 2].destroy, args=([name],)) for turn, name in enumerate(names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert vault.held(names) == set()
    assert len(passes) < len(names)


def test_a_file_that_belongs_to_no_table_may_hold_keys(vault, vault_server, monkeypatch):
    """PostgreSQL leaves such a file for ever when it crashes during a rewrite. It holds wrapped keys, never an hour
    key: once the hour has ended they are worthless, and before that nothing of the hour is called destroyed.
    """
    monkeypatch.setattr(vault_erasure, "LOOK_PAUSE", 0.0)
    early, other = some_name(), some_name()
    put(vault, early), put(vault, other)
    ((folder,),) = vault_server.admin("SELECT 'base/' || oid FROM pg_database WHERE datname = 'caducee_vault'")
    stray = vault_server.data / folder / "4000000000"
    stray.touch()
    try:
        with pytest.raises(VaultUnavailable, match=f"{folder}/4000000000"):
            vault.destroy([early])
        assert vault.holds(early)
        assert [each for each in vault.configuration_problems() if "4000000000" in each]
        assert vault.purge(EXPIRY + HOUR).due_left == 0
        assert vault.held([early, other]) == set()
    finally:
        stray.unlink()


def test_a_console_that_reads_keys_delays_their_destruction(vault, vault_server, monkeypatch):
    put(vault, name := some_name())
    with vault_server.connect() as console, console.transaction():
        console.execute(f"SELECT count(*) FROM {KEYS}")
        monkeypatch.setattr(vault_connections, "LOCK_SECONDS", 1)
        impatient = vault_server.vault(installation_id=INSTALLATION)
        with pytest.raises(VaultUnavailable, match="lock"):
            impatient.destroy([name])
        assert (impatient.living([name]), impatient.held([name])) == (set(), {name})
    impatient.destroy([name])
    assert not impatient.holds(name)
