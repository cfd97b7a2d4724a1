"""`caducee db`: the schema, and whether the database is sound."""

from __future__ import annotations

import typer
from sqlalchemy import text

from app.actions.accept_restore import accept_restore
from app.db.engine import Database
from app.db.schema import current_revision, newest_revision, upgrade
from app.settings import Settings
from app.storage.signing_folder import SigningFolder
from app.terminal.console import REFUSED, put, put_table, say
from app.terminal.opened import opened

tree = typer.Typer(help="The database.", no_args_is_help=True)


@tree.command("upgrade")
def upgrade_() -> None:
    """Bring the schema up to this program's version."""
    database = Database(Settings().database_location)
    before = current_revision(database)
    upgrade(database)
    say(f"schema: {before or 'empty'} -> {current_revision(database)}")


@tree.command("accept-restore")
def accept_restore_() -> None:
    """Go on with a restored database: withdraw every open share, begin a new log origin, and lock down."""
    with opened() as resources:
        accepted = accept_restore(resources, SigningFolder(resources.settings.signing_dir))
    say(f"accepted: {accepted.withdrawn} shares withdrawn, up to {accepted.entries_lost} log entries are lost")
    say("locked down. These tokens are valid, also those revoked after the backup: `caducee token revoke ID` for each")
    say("that should not be; then `caducee lockdown off`, unless a lockdown was on before the restore")
    put_table(("ID", "NAME", "ROLE", "EXPIRES"), ((t.id, t.name, t.role, t.expires_at) for t in accepted.tokens))


@tree.command("check")
def check() -> None:
    """Whether the schema is this program's and the database is sound. Exit 1 when not."""
    database = Database(Settings().database_location)
    current, newest = current_revision(database), newest_revision()
    put(f"schema {current or 'empty'}, this program needs {newest}")
    sound = True
    if database.is_sqlite:
        with database.reading() as connection:
            answer = connection.execute(text("PRAGMA integrity_check")).scalar()
        put(f"integrity {answer}")
        sound = answer == "ok"
    if current != newest or not sound:
        raise typer.Exit(REFUSED)
