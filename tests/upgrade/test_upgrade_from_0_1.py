"""A data folder of version 0.1 with live transfers starts after `db upgrade`, serves them, and ends them on time."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from app.actions import sweep as sweeping
from app.actions.expire_keys import expire_keys
from app.actions.keep_time import keep_time
from app.actions.reconcile import reconcile
from app.actions.report_retention import report_retention
from app.actions.verify_log import verify_log
from app.client.link import Link
from app.client.sealed_claim import SealedClaim
from app.domain.duration import parse_duration
from app.domain.vault_entry import EntryName
from app.main import create_app
from app.runtime import resources as resources_module
from app.runtime.clock import Clock
from app.runtime.installation import InstallationMismatch, open_resources
from app.runtime.resources import Resources
from app.runtime.settings import Settings
from app.storage.signing_folder import SigningFolder
from app.storage.vault_folder import VaultFolder
from app.terminal.db import upgrade_
from tests.acceptance.people import Share, bearer, claim, issue, ok, try_claim
from tests.acceptance.service import Installation, free_port, until
from tests.integration.actions.stories import blobs_held, keys_held, vault_folder
from tests.integration.conftest import MovableTime
from tests.upgrade.folder_0_1 import CONTENT, FETCHED, SCHEMA, SETTINGS, known, unpack

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
KNOWN = known()


@dataclass
class Upgraded:
    """The folder after `db upgrade`, in the test's own process, at the date when it was made."""

    resources: Resources
    time: MovableTime

    def sweep(self) -> None:
        """What the scheduler does each second, and the vault's own purge."""
        keep_time(self.resources)
        asyncio.run(sweeping.sweep(self.resources))
        expire_keys(VaultFolder(vault_folder(self.resources)), Clock(self.time, self.time.uptime))

    @contextmanager
    def serving(self) -> Iterator[httpx.Client]:
        """The application, asked by the depositor."""
        app = create_app(settings=self.resources.settings, resources=self.resources)
        with TestClient(app, base_url=self.resources.settings.public_url) as http:
            http.headers.update(bearer(KNOWN.token))
            yield http

    def states(self) -> dict[str, str]:
        """The state of each transfer by its name in the test."""
        with closing(sqlite3.connect(self.resources.settings.data_dir / "db" / "caducee.sqlite")) as connection:
            found = dict(connection.execute("SELECT id, state FROM transfers").fetchall())
        return {name: found[each["transfer_id"]] for name, each in KNOWN.transfers.items()}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder as 0.1 left it, and its settings in the environment."""
    data = unpack(tmp_path)
    for name, value in {**SETTINGS, "CADUCEE_DATA_DIR": str(data)}.items():
        monkeypatch.setenv(name, value)
    return data


@pytest.fixture
def upgraded(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upgraded]:
    """The folder after `caducee db upgrade`, a minute after it was made."""
    time = MovableTime(KNOWN.made_at + MINUTE)
    monkeypatch.setattr(resources_module, "Clock", lambda: Clock(time, time.uptime))
    upgrade_()
    resources = open_resources(Settings())
    upgraded = Upgraded(resources, time)
    upgraded.sweep()
    yield upgraded
    resources.close()


def share_of(name: str) -> Share:
    """A share as its recipient knows it."""
    kept = KNOWN.transfers[name]
    return Share(kept["transfer_id"], kept["client_key"], kept["share_id"], kept["link"], kept["password"])


def fetch(http: httpx.Client, name: str, path: str = "files/0", start: int = 0) -> httpx.Response:
    """Go on with a claim that was won under 0.1."""
    kept = KNOWN.transfers[name]
    headers = bearer(kept["claim_token"]) | {"Range": f"bytes={start}-"}
    return http.get(f"/api/v1/claims/{kept['claim_id']}/{path}", headers=headers)


def expiry_of(name: str) -> datetime:
    """When a transfer ends at the latest; a few seconds sooner in truth."""
    return KNOWN.made_at + parse_duration(KNOWN.transfers[name]["expires_in"])


# In the test's own process, at the date of the folder


def test_what_waits_is_served_once(upgraded: Upgraded) -> None:
    with upgraded.serving() as http:
        for name in ("issued", "issued_short"):
            assert claim(http, share_of(name)).get().content == CONTENT
            assert try_claim(http, share_of(name)).status_code == httpx.codes.GONE
        link = Link.parse(KNOWN.transfers["sealed"]["link"])
        claimed = SealedClaim.redeem(http, link, KNOWN.transfers["sealed"]["password"])
        assert b"".join(claimed.fetch(0)) == CONTENT


def test_a_claim_that_is_open_goes_on_and_nobody_else_has_it(upgraded: Upgraded) -> None:
    with upgraded.serving() as http:
        for name in ("claimed", "claimed_short"):
            assert fetch(http, name, start=FETCHED).content == CONTENT[FETCHED:]
        assert len(fetch(http, "sealed_claimed", "blobs/0").content) > len(CONTENT)
        for name in ("claimed", "claimed_short"):
            assert try_claim(http, share_of(name)).status_code == httpx.codes.GONE
            assert try_claim(http, share_of(name), claim_token=KNOWN.transfers[name]["claim_token"]).is_success


def test_the_vault_records_the_claims_that_are_open(upgraded: Upgraded) -> None:
    recorded = {name.share_id for name in keys_held(upgraded.resources) if name.claimed}
    assert recorded == {KNOWN.transfers[name]["share_id"] for name in ("claimed", "claimed_short", "sealed_claimed")}


def test_depositors_go_on(upgraded: Upgraded) -> None:
    """A withdrawn share can be issued again, also of the transfer that lost an upload."""
    upgraded.time.pass_by(MINUTE)
    upgraded.sweep()  # the upload's lease has run out
    with upgraded.serving() as http:
        for name in ("withdrawn", "abandoned"):
            kept = KNOWN.transfers[name]
            again = issue(http, kept["transfer_id"], kept["client_key"])
            assert claim(http, again).get().content == CONTENT
        completed = KNOWN.transfers["completed"]["transfer_id"]
        assert http.get(f"/api/v1/transfers/{completed}/receipt").is_success
        assert ok(http.get(f"/api/v1/transfers/{completed}"), 200)["state"] == "verified"


def test_all_ends_on_time(upgraded: Upgraded) -> None:
    short = {"issued_short", "claimed_short"}
    upgraded.time.pass_until(expiry_of("issued_short"))
    upgraded.sweep()
    with upgraded.serving() as http:
        assert try_claim(http, share_of("issued_short")).status_code == httpx.codes.GONE
        assert fetch(http, "claimed_short").status_code == httpx.codes.GONE
        states = upgraded.states()
        assert {name for name, state in states.items() if state == "verified"} == short | {"completed"}
        upgraded.time.pass_until(expiry_of("issued") - 10 * MINUTE)
        upgraded.sweep()
        assert upgraded.states()["issued"] == "live"
        upgraded.time.pass_until(expiry_of("issued"))
        assert try_claim(http, share_of("issued")).status_code == httpx.codes.GONE, "whatever the sweeper does"
        upgraded.sweep()
    assert set(upgraded.states().values()) == {"verified"}
    assert keys_held(upgraded.resources) == set()
    assert blobs_held(upgraded.resources) == set()
    orphans = sum(look.orphans for look in reconcile(upgraded.resources))
    assert orphans == 0
    assert report_retention(upgraded.resources, orphans=orphans).exit_code == 0
    verdict = verify_log(upgraded.resources, SigningFolder(upgraded.resources.settings.signing_dir))
    assert verdict.problem is None


def test_without_the_sweeper_the_vault_ends_them(upgraded: Upgraded) -> None:
    """The purge alone, also of the records of claims."""
    upgraded.time.pass_until(expiry_of("issued") + HOUR)
    expire_keys(VaultFolder(vault_folder(upgraded.resources)), Clock(upgraded.time, upgraded.time.uptime))
    assert keys_held(upgraded.resources) == set()


def test_an_upgrade_that_was_interrupted_is_run_again(data: Path) -> None:
    """The vault knew the claims, the schema was not changed yet."""
    before = data.with_name("before.sqlite")
    shutil.copyfile(data / "db" / "caducee.sqlite", before)
    upgrade_()
    records = recorded_in(data)
    shutil.copyfile(before, data / "db" / "caducee.sqlite")
    for leftover in (data / "db").glob("*-*"):
        leftover.unlink()
    upgrade_()
    assert recorded_in(data) == records != {}


def recorded_in(data: Path) -> dict[EntryName, bytes | None]:
    """The claims that the vault records, with the digests of their tokens."""
    vault = VaultFolder(data / "vault")
    return {name: vault.claim_recorded(name) for name in vault.names() if name.claimed}


def test_upgrading_twice_records_no_claim_that_was_written_into_the_database_since(upgraded: Upgraded) -> None:
    """The database is believed once."""
    forged, honest = KNOWN.transfers["issued"], KNOWN.transfers["claimed"]
    data = upgraded.resources.settings.data_dir
    with closing(sqlite3.connect(data / "db" / "caducee.sqlite")) as connection, connection:
        moved = (forged["share_id"], forged["transfer_id"], honest["claim_id"])
        connection.execute("UPDATE claims SET share_id = ?, transfer_id = ? WHERE id = ?", moved)
        connection.execute("UPDATE shares SET state = 'claimed' WHERE id = ?", (forged["share_id"],))
    before = recorded_in(data)
    upgrade_()
    assert recorded_in(data) == before
    assert forged["share_id"] not in {name.share_id for name in before}


@pytest.mark.parametrize("vault", ["unmounted", "another installation's"])
def test_without_its_vault_nothing_is_upgraded(data: Path, vault: str) -> None:
    """Open claims would be lost; so the schema stays as it is, and the command can be run again."""
    (data / "vault").rename(data / "vault-gone")
    other = VaultFolder(data / "vault")
    if vault == "unmounted":
        (data / "vault").mkdir(mode=0o700)
    else:
        other.adopt("another")
    with pytest.raises(InstallationMismatch, match="vault"):
        upgrade_()
    with closing(sqlite3.connect(data / "db" / "caducee.sqlite")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (SCHEMA,)


# As an operator runs it, at today's date


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """The folder as 0.1 left it."""
    folder = tmp_path / "today"
    installation = Installation(folder, MAX_LIFETIME="31d")
    assert unpack(folder) == installation.data
    return installation


@pytest.mark.parametrize(
    "command", [("serve", "--port", "{port}"), ("sweep",), ("lockdown", "on"), ("token", "list"), ("transfer", "list")]
)
def test_without_the_upgrade_nothing_starts(installation: Installation, command: tuple[str, ...]) -> None:
    before = installation.database.read_bytes()
    ran = installation.run(*(word.format(port=free_port()) for word in command), code=2)
    assert "caducee db upgrade" in ran.err
    assert installation.database.read_bytes() == before


def test_after_the_upgrade_whatever_has_expired_is_verified(installation: Installation) -> None:
    """However long ago: by the operator's word that the host's clock is right."""
    ran = installation.run("db", "upgrade")
    assert f"schema: {SCHEMA} -> " in ran.err
    assert "records 3 open claims" in ran.err
    installation.run("db", "check")
    installation.run("clock", "accept")
    kept = installation.folder / "kept.checkpoint"
    kept.write_text(KNOWN.checkpoint["note"])
    due = {each["transfer_id"] for name, each in KNOWN.transfers.items() if expiry_of(name) <= datetime.now(UTC)}
    due.add(KNOWN.transfers["completed"]["transfer_id"])
    with installation.serving() as server, server.http(KNOWN.token) as http:
        until(lambda: due <= verified(installation), what="the end of what has expired")
        report = until(lambda: clean(installation), what="a clean report")
        assert report["overdue"] == 0
        installation.run("audit", "verify", "--since", str(kept))
        if KNOWN.transfers["issued"]["transfer_id"] not in due:
            assert claim(http, share_of("issued")).get().content == CONTENT
        else:
            assert try_claim(http, share_of("issued")).status_code == httpx.codes.GONE


def verified(installation: Installation) -> set[str]:
    """The transfers whose end was verified."""
    return {row[0] for row in installation.rows("SELECT id FROM transfers WHERE state = 'verified'")}


def clean(installation: Installation) -> Any:
    """The retention report, once it is clean."""
    ran = installation.run("audit", "retention", "--json", code=None)
    return ran.json if ran.code == 0 else None
