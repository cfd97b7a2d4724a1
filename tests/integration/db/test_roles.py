"""Roles on PostgreSQL: each process does its work as its role, and nothing that is another's."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from psycopg.errors import InsufficientPrivilege
from pydantic import SecretStr
from sqlalchemy import Engine, Executable, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from app.actions.authenticate import authenticate_session
from app.actions.complete_claim import complete_claim
from app.actions.create_upload import NewUpload, create_upload
from app.actions.delete_transfer import delete_transfer
from app.actions.end_due_sessions import end_due_sessions
from app.actions.end_upload import end_upload
from app.actions.give_receipt import give_receipt
from app.actions.list_transfers import list_transfers
from app.actions.lock_down import lock_down
from app.actions.log_refused_links import log_refused_links
from app.actions.look_at_share import look_at_share
from app.actions.note_token_use import note_token_use
from app.actions.prune_log import prune_log
from app.actions.reconcile import reconcile
from app.actions.report_exposure import report_exposure
from app.actions.report_retention import report_retention
from app.actions.revoke_access_token import revoke_access_token
from app.actions.sign_checkpoint import sign_checkpoint
from app.actions.sign_in_by_token import sign_in_by_token
from app.actions.sign_out import sign_out
from app.actions.stop_intake import resume_intake, stop_intake
from app.actions.verify_log import verify_log
from app.actions.withdraw_share import withdraw_share
from app.crypto.wrapping import link_proof
from app.db.roles import AUDITOR, RECIPIENTS, ROLES, SCHEDULER, STAFF, Role, statements
from app.db.tables import metadata
from app.domain.errors import WrongPassword
from app.domain.file_meta import FileMeta
from app.domain.period import Period
from app.domain.transfer import TransferState
from app.runtime.installation import open_read_only
from app.runtime.resources import Resources
from app.storage.signing_folder import SigningFolder
from tests.integration.actions.sealed_stories import claim_sealed, fetch_sealed, send_sealed
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    a_caller,
    a_transfer,
    claim,
    fetch,
    run,
    send,
    sweep,
    transfer_row,
)
from tests.integration.db.test_audit_log_only_grows import CHANGES

META = FileMeta.checked("a name", "text/csv")

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.parametrize("database_kind", ["postgres"]),
]


@pytest.fixture
def url_of(database_url) -> Iterator[Callable[[Role], str]]:
    """The URL of the database for a login that is a member of a role."""
    owner = create_engine(database_url, isolation_level="AUTOCOMMIT")
    logins: list[str] = []
    with owner.connect() as connection:
        for statement in statements():
            connection.exec_driver_sql(statement)

    def login(role: Role) -> str:
        name = f"login_{role.name}"
        with owner.connect() as connection:
            connection.execute(text(f"DROP ROLE IF EXISTS {name}"))
            connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD 'x' IN ROLE {role.name}"))
        logins.append(name)
        return make_url(database_url).set(username=name, password="x").render_as_string(hide_password=False)

    yield login
    with owner.connect() as connection:
        for name in logins:
            connection.execute(text(f"DROP ROLE {name}"))
        for role in ROLES:
            connection.execute(text(f"DROP OWNED BY {role.name}"))
            connection.execute(text(f"DROP ROLE {role.name}"))
    owner.dispose()


@pytest.fixture
def of_role(resources, start_service, url_of) -> Callable[[Role], Resources]:
    """The service's resources as a process of that role opens them."""
    opened: dict[Role, Resources] = {}
    return lambda role: opened.setdefault(role, start_service(database_url=url_of(role)))


def test_each_process_does_its_work_as_its_role(of_role, caller):
    staff, recipients, scheduler = of_role(STAFF), of_role(RECIPIENTS), of_role(SCHEDULER)
    sent, other, sealed = send(staff, caller, label="for you"), send(staff, caller), send_sealed(staff, caller)
    proof = link_proof(sent.share.link_secret)
    assert look_at_share(recipients, sent.share.id, proof).label == "for you"
    with pytest.raises(WrongPassword):
        run(claim(recipients, sent.share, password="0000-0000-0000-0000"))
    claimed = run(claim(recipients, sent.share))
    assert run(fetch(recipients, claimed)) == CONTENT
    assert run(fetch_sealed(recipients, sealed, run(claim_sealed(recipients, sealed)))) is not None
    complete_claim(recipients, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    recipients.refused_links.add()
    log_refused_links(recipients)
    withdraw_share(staff, other.share.id, caller=caller)
    delete_transfer(staff, sealed.transfer.id, caller=caller)
    assert len(list_transfers(staff, caller).transfers) == 3
    taking = a_transfer(staff, caller)
    upload = create_upload(staff, caller, NewUpload(taking.id, 10, META, None), client_key=taking.client_key)
    run(end_upload(staff, caller, upload.id))
    started = sign_in_by_token(staff, caller, address=ADDRESS, earlier=None)
    run(sign_out(staff, authenticate_session(staff, started.secret), id_token=None))
    note_token_use(staff, caller)
    revoke_access_token(staff.database, staff.clock, str(a_caller(staff).token_id))
    stop_intake(staff.database, staff.clock)
    resume_intake(staff.database, staff.clock)
    sweep(scheduler)
    reconcile(scheduler)
    prune_log(scheduler, actor="scheduler")
    end_due_sessions(scheduler)
    sign_checkpoint(scheduler, SigningFolder(scheduler.settings.signing_dir))
    assert transfer_row(scheduler, sent.id).state == TransferState.VERIFIED
    assert look_at_share(recipients, sent.share.id, proof).destroyed_at is not None
    assert give_receipt(staff, sent.id, caller=caller)
    lock_down(staff.database, staff.clock)


def test_the_auditors_role_reads_every_report(of_role, resources, caller, url_of, monkeypatch):
    sent = send(resources, caller)
    sweep(resources)
    signing = SigningFolder(resources.settings.signing_dir)
    sign_checkpoint(resources, signing)
    settings = resources.settings.model_copy(update={"database_url": SecretStr(url_of(AUDITOR))})
    auditor = open_read_only(settings)
    try:
        now = resources.clock.now()
        assert report_retention(auditor, orphans=0).exit_code == 0
        assert report_exposure(auditor, Period(now - timedelta(hours=1), now + timedelta(seconds=1))).transfers
        assert verify_log(auditor, signing).kind is None
        assert list_transfers(auditor, None).transfers[0].transfer.id == sent.id
    finally:
        auditor.close()


EVERYBODY: list[Executable | str] = [
    *CHANGES,
    "TRUNCATE audit_entries",
    "DROP TABLE audit_entries CASCADE",
    "ALTER TABLE audit_entries DISABLE TRIGGER ALL",
    "UPDATE alembic_version SET version_num = '0001'",
    "UPDATE audit_boundaries SET below = 9",
    "DELETE FROM transfers",
    "DELETE FROM shares",
    "DELETE FROM claims",
    "DELETE FROM access_tokens",
    "DELETE FROM counters",
    "DELETE FROM service_state",
    "CREATE TABLE mine (x integer)",
    "SET ROLE postgres",
]
NETWORK = [
    *(f"UPDATE service_state SET {column} = NULL" for column in ("last_sweep_at", "time_mark", "clock_problem")),
    *(f"UPDATE service_state SET {column} = NULL" for column in ("vault_problem", "rolled_back_at", "log_origin")),
    "INSERT INTO audit_checkpoints DEFAULT VALUES",
    "UPDATE audit_checkpoints SET note = 'x'",
    "INSERT INTO audit_boundaries VALUES (9)",
    "SELECT caducee_prune_audit(0, 9)",
    *(f"UPDATE access_tokens SET {column} = NULL" for column in ("role", "owner", "expires_at", "name")),
    "DELETE FROM sessions",
    "INSERT INTO sweep_gaps DEFAULT VALUES",
]
RECIPIENT = [
    "UPDATE service_state SET locked_down_at = NULL",
    "UPDATE service_state SET intake_off_at = NULL",
    "INSERT INTO access_tokens DEFAULT VALUES",
    "UPDATE access_tokens SET revoked_at = NULL",
    *(f"SELECT * FROM {table}" for table in ("access_tokens", "sessions", "logout_tokens", "idempotency_keys")),
    *(f"DELETE FROM {table}" for table in ("files", "uploads", "idempotency_keys", "logout_tokens")),
    *(f"INSERT INTO {table} DEFAULT VALUES" for table in ("transfers", "files", "shares", "uploads")),
    *(f"UPDATE transfers SET {column} = NULL" for column in ("label", "expires_at", "token_id", "verified_at")),
    *(f"UPDATE shares SET {column} = NULL" for column in ("recipient", "expires_at", "verifier_digest", "issued_at")),
    "UPDATE claims SET token_digest = NULL",
    "UPDATE files SET blob_id = NULL",
]
WRITES = [
    statement
    for table in metadata.tables
    for statement in (f"DELETE FROM {table}", f"INSERT INTO {table} DEFAULT VALUES")
]
SECRETS = [f"SELECT * FROM {table}" for table in ("access_tokens", "sessions", "logout_tokens", "idempotency_keys")]
FORBIDDEN: dict[str, list[Executable | str]] = {
    RECIPIENTS.name: [*EVERYBODY, *NETWORK, *RECIPIENT],
    STAFF.name: [*EVERYBODY, *NETWORK],
    SCHEDULER.name: EVERYBODY,
    AUDITOR.name: [*EVERYBODY, *NETWORK, *RECIPIENT, *WRITES, *SECRETS, "UPDATE shares SET state = 'issued'"],
}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_is_refused_what_is_anothers(url_of, resources, caller, role):
    send(resources, caller)
    engine = create_engine(url_of(role))
    ran = {str(statement): _error_of(engine, statement) for statement in FORBIDDEN[role.name]}
    engine.dispose()
    assert {statement: error for statement, error in ran.items() if not isinstance(error, InsufficientPrivilege)} == {}


def _error_of(engine: Engine, statement: Executable | str) -> BaseException | None:
    try:
        with engine.begin() as connection:
            connection.execute(text(statement) if isinstance(statement, str) else statement)
    except ProgrammingError as error:
        return error.orig
    return None


def test_each_table_is_some_roles(database_kind):
    """A later migration's table is in the roles' table, or only the owner could use it."""
    named = {table for role in ROLES for table in role.tables}
    assert named == {*metadata.tables, "alembic_version"}


def test_what_was_given_and_is_no_longer_in_the_table_is_taken_back(url_of, resources, database_url):
    login = url_of(AUDITOR)
    owner = create_engine(database_url, isolation_level="AUTOCOMMIT")
    with owner.connect() as connection:
        connection.exec_driver_sql(f"GRANT UPDATE (label), DELETE ON transfers TO {AUDITOR.name}")
        for statement in statements():
            connection.exec_driver_sql(statement)
        rights = connection.exec_driver_sql(
            f"SELECT has_table_privilege('{AUDITOR.name}', 'transfers', 'DELETE'),"
            f" has_any_column_privilege('{AUDITOR.name}', 'transfers', 'UPDATE')"
        ).one()
    owner.dispose()
    assert tuple(rights) == (False, False)
    assert make_url(login).username == f"login_{AUDITOR.name}"
