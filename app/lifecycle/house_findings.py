"""The checks of `caducee doctor` on settings and database: what is in use, who may use it, and what falls due."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text

from app.db import access_token_rows, checkpoint_rows, service_rows, testimony_rows
from app.db.engine import Database
from app.db.schema import newest_revision, strange_triggers
from app.domain.audit_events import Event
from app.domain.finding import Finding, Level, of_checkpoint, of_drill, of_tokens
from app.domain.network_address import in_url, is_loopback, parse_host
from app.lifecycle.gate import forged_log
from app.runtime.resources import Resources


def database(resources: Resources) -> Iterator[Finding]:
    """Which database answers, as it reports itself."""
    yield Finding(Level.GOOD, "database", _database_in_use(resources.database))


def schema(resources: Resources) -> Iterator[Finding]:
    """The commands refuse another version; triggers keep the log from being changed."""
    strange = strange_triggers(resources.database)
    if strange:
        do = "treat it as tampering: docs/runbook.md, row_contradicts_witness"
        yield Finding(Level.WRONG, "schema", f"triggers differ: {', '.join(strange)}", do)
    else:
        yield Finding(Level.GOOD, "schema", f"version {newest_revision()}")


def lockdown(resources: Resources) -> Iterator[Finding]:
    """An operator's decision: not wrong, but nobody is served."""
    with resources.database.reading() as connection:
        since = service_rows.lockdown_since(connection)
    if since is not None:
        said = f"on since {since:%Y-%m-%dT%H:%M:%SZ}: no deposit, claim or download"
        yield Finding(Level.WEAK, "lockdown", said, "caducee lockdown off, once the incident is over")
    else:
        yield Finding(Level.GOOD, "lockdown", "off")


def public_url(resources: Resources) -> Iterator[Finding]:
    """Links point there."""
    settings = resources.settings
    scheme, _, authority = settings.public_url.partition("://")
    host = parse_host(authority, scheme=scheme)
    if host is not None and is_loopback(host[0]):
        said = f"{settings.public_url}: links work on this machine only"
        yield Finding(Level.NOTE, "public URL", said, "set CADUCEE_PUBLIC_URL to the address that recipients use")
        return
    yield Finding(Level.GOOD, "public URL", settings.public_url)
    if not settings.trusted_proxies:
        said = "none is listed: behind one, all recipients have its address in the log and the queues"
        yield Finding(
            Level.NOTE, "proxies", said, "set CADUCEE_TRUSTED_PROXIES to the proxy's address, if there is one"
        )


def house(resources: Resources) -> Iterator[Finding]:
    """Recipients should see who sends them data, and whom to ask."""
    settings = resources.settings
    for check, value, variable in (
        ("organisation", settings.organisation, "CADUCEE_ORGANISATION"),
        ("contact", settings.contact, "CADUCEE_CONTACT"),
    ):
        if value:
            yield Finding(Level.GOOD, check, value)
        else:
            yield Finding(Level.NOTE, check, "unset: recipients are not told", f"set {variable}")


def tokens(resources: Resources) -> Iterator[Finding]:
    """Tokens end without a word to those who use them."""
    with resources.database.reading() as connection:
        rows = access_token_rows.every(connection)
    yield from of_tokens(rows, resources.clock.now())


def checkpoint(resources: Resources) -> Iterator[Finding]:
    """The log's last signature."""
    forged = forged_log(resources)
    if forged is not None:
        yield Finding(Level.WRONG, "checkpoint", forged, "docs/runbook.md, log_forged")
        return
    with resources.database.reading() as connection:
        last = checkpoint_rows.last(connection)
    at, size = (last.at, last.size) if last is not None else (None, 0)
    yield of_checkpoint(at, size, resources.clock.now())


def drill(resources: Resources) -> Iterator[Finding]:
    """The last restore drill, as it recorded itself: in the log, and a passed one in the service's row (the retention
    report compares both).
    """
    with resources.database.reading() as connection:
        passed_at = service_rows.get(connection).last_drill_at
        last = testimony_rows.last_of(connection, Event.DRILL_PASSED, Event.DRILL_FAILED)
    failed = last is not None and last.fields.get("event") == Event.DRILL_FAILED
    yield of_drill(passed_at, last.at if last is not None and failed else None, resources.clock.now())


CHECKS = (database, schema, lockdown, public_url, house, tokens, checkpoint, drill)


def _database_in_use(in_use: Database) -> str:
    if in_use.file is not None:
        return f"SQLite, {in_use.file}"
    query = "SELECT current_database(), host(inet_server_addr()), inet_server_port(), current_setting('server_version')"
    with in_use.reading() as connection:
        name, address, port, version = connection.execute(text(query)).one()
    where = f"at {in_url(address)}:{port}" if address else "over a Unix socket"
    return f"PostgreSQL {version.partition(' ')[0]}, database {name} {where}"
