"""The commands that nothing undoes: they wait for their word, and work when nothing else does."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx

from tests.acceptance.people import send, try_claim
from tests.acceptance.service import Installation, until


def test_destroying_all_keys_under_a_running_service(tmp_path: Path) -> None:
    """Another word does nothing; the right one ends everything that is held, and the bytes follow."""
    installation = Installation(tmp_path)
    token = installation.token()
    with installation.serving() as server, server.http(token) as http:
        share = send(http)
        refused = installation.run("lockdown", "destroy-all-keys", typed="yes\n", code=1)
        assert "nothing was destroyed" in refused.err
        assert len(installation.key_files()) == 2
        installation.run("lockdown", "destroy-all-keys", typed="destroy\n")
        assert installation.files("vault") == []
        assert try_claim(http, share).json()["code"] == "locked_down"
        installation.run("lockdown", "off")
        assert try_claim(http, share).status_code == httpx.codes.GONE
        until(lambda: not installation.files("blobs"), what="the end of the bytes")
        until(lambda: installation.run("audit", "retention", code=None).code == 0, what="a clean report")
    assert "keys.all_destroyed" in installation.run("audit", "log").out


def test_destroying_all_keys_needs_neither_service_nor_database(tmp_path: Path) -> None:
    """Whoever gives this order may have nothing left but the vault."""
    installation = Installation(tmp_path)
    token = installation.token()
    with installation.serving() as server, server.http(token) as http:
        share = send(http)
    away = tmp_path / "db"
    shutil.move(installation.data / "db", away)
    nowhere = f"sqlite:///{installation.data / 'vault' / 'installation' / 'x.sqlite'}"  # a folder that cannot be made
    ran = installation.run("lockdown", "destroy-all-keys", typed="destroy\n", code=2, DATABASE_URL=nowhere)
    assert "all keys are destroyed" in ran.err
    assert installation.files("vault") == []
    for url in ("mysql://u:SEKRET@h/x", f"sqlite:///{installation.data / 'db' / 'caducee.sqlite'}"):
        ran = installation.run("lockdown", "destroy-all-keys", typed="destroy\n", code=2, DATABASE_URL=url)
        assert "all keys are destroyed" in ran.err
        assert "SEKRET" not in ran.err
    shutil.rmtree(installation.data / "db", ignore_errors=True)
    shutil.move(away, installation.data / "db")
    with installation.serving() as server, server.http() as anyone:
        assert try_claim(anyone, share).status_code == httpx.codes.GONE


def test_a_new_vault_after_the_old_one_was_lost(tmp_path: Path) -> None:
    """Nothing starts without it; the command wants its word; then deposits go on."""
    installation = Installation(tmp_path)
    token = installation.token()
    with installation.serving() as server, server.http(token) as http:
        share = send(http)
    assert "nothing is lost" in installation.run("keys", "accept-vault", typed="lost\n", code=2).err
    shutil.rmtree(installation.data / "vault")
    (installation.data / "vault").mkdir(mode=0o700)
    assert "caducee keys accept-vault" in installation.run("serve", "--port", "9", code=2).err
    assert "nothing was changed" in installation.run("keys", "accept-vault", typed="yes\n", code=1).err
    assert installation.files("vault") == []
    assert "1 transfers ended" in installation.run("keys", "accept-vault", typed="lost\n").err
    with installation.serving() as server, server.http(token) as http:
        assert try_claim(http, share).status_code == httpx.codes.GONE
        send(http)
    assert "vault.replaced" in installation.run("audit", "log").out
    installation.run("audit", "verify")
