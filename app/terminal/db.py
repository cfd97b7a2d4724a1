"""`caducee db`: the schema, restored databases, and integrity checks."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict

import typer
from sqlalchemy import text

from app.actions.accept_restore import accept_restore
from app.actions.record_open_claims import record_open_claims
from app.db.engine import Database
from app.db.roles import ROLES, statements
from app.db.schema import current_revision, newest_revision, strange_triggers, upgrade
from app.runtime.hand_over import hand_over, hand_over_for_database
from app.runtime.installation import (
    NoInstallation,
    holds_nothing,
    no_database,
    open_resources,
    require_vault_of,
)
from app.runtime.resources import Resources, connect
from app.runtime.separate_users import prepare_folders, require_scheduler_user
from app.runtime.settings import Settings
from app.storage.signing_folder import SigningFolder
from app.terminal.console import REFUSED, AsJson, put, put_json, put_table, say
from app.terminal.opened import opened
from app.terminal.table import Column

tree = typer.Typer(help="The database.", no_args_is_help=True)
CLAIMS_RECORDED_SINCE = "0004"
"""The schema of the first version whose vault records claims. From this schema on, a claim without a record in the
vault was forged in the database.
"""


@tree.command("upgrade")
def upgrade_(*, as_json: AsJson = False) -> None:
    """Upgrade the schema and the data to this program's version. Stop the service first."""
    settings = Settings()
    hand_over(settings)
    require_scheduler_user(settings)
    if holds_nothing(settings):
        open_resources(settings).close()
        if as_json:
            put_json({"before": None, "schema": newest_revision(), "claims_recorded": 0})
        say(f"schema: empty -> {newest_revision()}; a new installation")
        return
    prepare_folders(settings)
    with closing(connect(settings)) as resources:
        before = current_revision(resources.database)
        recorded = _prepare_data(resources, before) if before is not None else 0
        upgrade(resources.database)
        now = current_revision(resources.database)
    open_resources(settings).close()  # takes a database into use whose first start was cut short
    if as_json:
        put_json({"before": before, "schema": now, "claims_recorded": recorded})
        return
    say(f"schema: {before or 'empty'} -> {now}")
    if recorded:
        say(f"the vault now records {recorded} open claims")


def _prepare_data(resources: Resources, before: str) -> int:
    """Migrate the data, and return how many claims were recorded in the vault. This runs before the schema changes: an
    interrupted upgrade repeats it, and a database with the new schema never does.
    """
    if before >= CLAIMS_RECORDED_SINCE:
        return 0
    try:
        require_vault_of(resources.database, resources.vault)
    except NoInstallation:
        return 0
    return record_open_claims(resources)


@tree.command("accept-restore")
def accept_restore_(*, as_json: AsJson = False) -> None:
    """Accept a restored database: withdraw every open share, begin a new log origin, and lock down."""
    with opened(as_scheduler=True, key_lost=True) as resources:
        accepted = accept_restore(resources, SigningFolder(resources.settings.signing_dir))
    if as_json:
        tokens = [{"id": t.id, "name": t.name, "role": t.role, "expires_at": t.expires_at} for t in accepted.tokens]
        put_json({"withdrawn": accepted.withdrawn, "entries_lost": accepted.entries_lost, "tokens": tokens})
        return
    say(f"accepted: {accepted.withdrawn} shares withdrawn, up to {accepted.entries_lost} log entries are lost")
    say("locked down. These tokens are valid, also those revoked after the backup: `caducee token revoke ID` for each")
    say("that should not be; then `caducee lockdown off`, unless a lockdown was on before the restore")
    columns = (Column("ID"), Column("NAME", text=True), Column("ROLE", rank=2), Column("EXPIRES", rank=1))
    put_table(columns, ((t.id, t.name, t.role, t.expires_at) for t in accepted.tokens))


@tree.command("roles")
def roles(*, as_json: AsJson = False) -> None:
    """Print the SQL that gives each process its own rights on PostgreSQL. Changes nothing; needs no installation."""
    if as_json:
        put_json({"roles": [asdict(role) for role in ROLES]})
        return
    for statement in statements():
        put(statement)


@tree.command("check")
def check(*, as_json: AsJson = False) -> None:
    """Check schema version, triggers and integrity of the database. Exit 1 if one of them is wrong."""
    settings = Settings()
    hand_over_for_database(settings)
    if holds_nothing(settings):
        raise NoInstallation(no_database(settings))
    database = Database(settings.database_location)
    current, newest = current_revision(database), newest_revision()
    integrity = None
    if database.is_sqlite:
        with database.reading() as connection:
            integrity = connection.execute(text("PRAGMA integrity_check")).scalar()
    strange = strange_triggers(database) if current == newest else []
    sound = current == newest and integrity in {None, "ok"} and not strange
    if as_json:
        found = {"schema": current, "newest": newest, "integrity": integrity, "strange_triggers": list(strange)}
        put_json({**found, "sound": sound})
    else:
        put(f"schema {current or 'empty'}, this program needs {newest}")
        if database.is_sqlite:
            put(f"integrity {integrity}")
        for name in strange:
            put(f"trigger {name}: differs from the migrations")
    if not sound:
        raise typer.Exit(REFUSED)
