"""Exports, receipts, pruning, new origins: each checked by the program and by a verifier that knows only the texts."""

import base64
import json
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update

from app.actions.accept_restore import accept_restore
from app.actions.export_log import LogPrunedMeanwhile, export_log
from app.actions.give_receipt import give_receipt
from app.actions.prune_log import prune_log
from app.actions.renew_log import renew_log
from app.actions.sign_checkpoint import LogRolledBack, sign_checkpoint
from app.actions.verify_export import ExportUnreadable, verify_export
from app.actions.verify_log import verify_log
from app.actions.verify_receipt import verify_receipt
from app.crypto.errors import CryptoError, NoteInvalid
from app.crypto.signed_note import Checkpoint
from app.db import audit_pruning, audit_rows, checkpoint_rows, service_rows
from app.db.tables import audit_boundaries, audit_checkpoints, audit_entries, audit_nodes, service_state
from app.domain.audit_events import Entry, Event, RenewalReason
from app.domain.errors import LogAltered, NotDeletedYet, ReceiptNotSigned, ReceiptPruned, TransferNotFound
from app.domain.log_verdict import Kind
from tests.full_rights import take_full_rights
from tests.independent_log_verifier import Key, Refused, check_log, check_receipt
from tests.integration.actions.stories import a_caller, log_of, send, sweep

DAY = timedelta(days=1)


def append(resources, count=1):
    with resources.database.writing() as transaction:
        now = resources.clock.now()
        transaction.log(*(Entry(event=Event.LINKS_REFUSED, at=now, actor="recipient", count=n) for n in range(count)))


def alter(resources, *statements):
    """As somebody with full rights over the database."""
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        for statement in statements:
            transaction.connection.execute(statement)


def contents(resources) -> list[str | None]:
    with resources.database.reading() as connection:
        return [row.content for row in connection.execute(audit_entries.select().order_by(audit_entries.c.sequence))]


@pytest.fixture
def signed(resources, signing):
    """A log of 23 entries, signed after 9 and 20."""
    append(resources, 9 - len(log_of(resources)))
    sign_checkpoint(resources, signing)
    append(resources, 11)
    sign_checkpoint(resources, signing)
    append(resources, 3)
    return resources


@pytest.fixture
def exported(tmp_path, signing):
    """Exports a log into a file; answers the file."""

    def export(resources):
        file = tmp_path / "export.jsonl"
        file.write_text("".join(f"{line}\n" for line in export_log(resources, signing)), encoding="utf-8")
        return file

    return export


def both(file, signing, since=None):
    """What the program says of an export, and whether the independent verifier agrees; None when it is right."""
    key = signing.verifier_key()
    verdict = verify_export(file, key, since=since)
    try:
        check_log(file.read_text(encoding="utf-8").splitlines(), Key(key), since)
    except Refused:
        assert verdict.problem is not None
    else:
        assert verdict.problem is None
    return verdict


# Against a checkpoint that somebody kept


def rewritten(resources, sequence, **changes):
    """Statements that change an entry, its hash and every node above it."""
    from app.crypto import merkle

    with resources.database.reading() as connection:
        stored = audit_rows.page(connection, 0, 1000)
        nodes = [(row.level, row.position) for row in connection.execute(audit_nodes.select())]
    content = json.dumps({**stored[sequence].fields(), **changes}, sort_keys=True, separators=(",", ":"))
    hashes = [each.leaf_hash for each in stored]
    hashes[sequence] = merkle.leaf_hash(content.encode())
    entry = audit_entries.c.sequence == sequence
    yield update(audit_entries).where(entry).values(content=content, leaf_hash=hashes[sequence])
    for level, position in nodes:
        node = (audit_nodes.c.level == level) & (audit_nodes.c.position == position)
        value = merkle.root(hashes[position << level : (position + 1) << level])
        yield update(audit_nodes).where(node).values(hash=value)


def test_a_log_rewritten_whole_with_its_checkpoints_and_the_kept_one_fails_against_one_kept_elsewhere(signed, signing):
    """Lesson 35: full rights over database and signing folder, every hash recomputed, everything signed anew."""
    since, key = signing.last_checkpoint(), signing.verifier_key()
    alter(signed, *rewritten(signed, 4, actor="somebody else"), delete(audit_checkpoints))
    (signed.settings.signing_dir / "checkpoint").unlink()
    sign_checkpoint(signed, signing)
    assert verify_log(signed, signing).problem is None  # by itself it convinces
    verdict = verify_log(signed, signing, since=since, public_key=key)
    assert (verdict.kind, verdict.sequence) == (Kind.FORKED, 0)
    assert "entries 0 to 19 are not those that were signed" in (verdict.problem or "")


def test_without_a_later_signature_a_rewritten_log_is_a_changed_one(signed, signing):
    since, key = signing.last_checkpoint(), signing.verifier_key()
    alter(signed, *rewritten(signed, 12, actor="somebody else"), delete(audit_checkpoints))
    (signed.settings.signing_dir / "checkpoint").unlink()
    verdict = verify_log(signed, signing, since=since, public_key=key)
    assert (verdict.kind, verdict.sequence) == (Kind.CHANGED, 0)


def test_a_log_cut_without_a_trace_was_rolled_back(signed, signing):
    since, key = signing.last_checkpoint(), signing.verifier_key()
    alter(
        signed,
        delete(audit_entries).where(audit_entries.c.sequence >= 9),
        delete(audit_checkpoints).where(audit_checkpoints.c.size > 9),
        *(
            delete(audit_nodes).where(audit_nodes.c.level == level, audit_nodes.c.position >= 9 >> level)
            for level in range(1, 6)
        ),
    )
    verdict = verify_log(signed, signing, since=since, public_key=key)
    assert (verdict.kind, verdict.sequence) == (Kind.ROLLED_BACK, 9)
    assert "20 entries were signed, 9 are there" in (verdict.problem or "")


def test_nodes_beyond_the_log_show_what_was_cut(resources, signing):
    """Nothing was signed yet; the tree remembers."""
    append(resources, 12)
    size = len(log_of(resources))
    alter(resources, delete(audit_entries).where(audit_entries.c.sequence >= size - 5))
    verdict = verify_log(resources, signing)
    assert (verdict.kind, verdict.sequence) == (Kind.TRUNCATED, size - 5)


def test_a_check_that_stops_early_leaves_no_reader_behind(signed, signing):
    """A reader that stays would see the past for ever, and keep destroyed keys in SQLite's write-ahead log."""
    content = contents(signed)[3]
    entry = audit_entries.c.sequence == 3
    for _ in range(2):
        alter(signed, update(audit_entries).where(entry).values(content="{}"))
        assert verify_log(signed, signing).sequence == 3
        assert signed.database.forget_deleted()
        alter(signed, update(audit_entries).where(entry).values(content=content))
        assert verify_log(signed, signing).problem is None


def test_a_row_before_the_first_is_found(signed, signing):
    alter(signed, audit_entries.insert().values(sequence=-1, at=signed.clock.now(), content="{}", leaf_hash=bytes(32)))
    assert verify_log(signed, signing).problem == "an entry stands before the first"


def test_a_checkpoint_of_somebody_elses_log_is_refused(signed, signing, tmp_path):
    other = signing.signer("caducee.log/other").sign(Checkpoint("caducee.log/other", 9, bytes(32)).body())
    signed_under = signing.signer(service_origin(signed))  # the public key handed out is this log's again
    assert signed_under.verifier_key == signing.verifier_key()
    assert verify_log(signed, signing, since=other).problem is not None
    assert "not what was signed" in (verify_log(signed, signing, since="no note").problem or "")
    with pytest.raises(NoteInvalid):
        verify_log(signed, signing, public_key="no key")


def service_origin(resources) -> str:
    with resources.database.reading() as connection:
        return service_rows.get(connection).log_origin


# Exports


def test_an_export_is_verified_by_both(signed, signing, exported):
    verdict = both(exported(signed), signing, since=signing.last_checkpoint())
    assert (verdict.problem, verdict.entries, verdict.checkpoints) == (None, 23, 2)


@pytest.mark.parametrize("sequence", [0, 8, 12, 19])
def test_any_line_of_an_export_that_is_changed_removed_or_moved_is_found_by_both(signed, signing, exported, sequence):
    file = exported(signed)
    lines = file.read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if json.loads(line).get("sequence") == sequence)
    later = at + 1
    for altered, kinds in (
        ([*lines[:at], lines[at].replace('\\"actor\\":\\"', '\\"actor\\":\\"x'), *lines[later:]], {Kind.CHANGED}),
        ([*lines[:at], *lines[later:]], {Kind.REMOVED}),
        ([*lines[:at], lines[later], lines[at], *lines[later + 1 :]], {Kind.REMOVED, Kind.REORDERED}),
    ):
        file.write_text("\n".join(altered) + "\n", encoding="utf-8")
        verdict = both(file, signing)
        assert verdict.kind in kinds
        assert verdict.sequence is not None


def test_an_export_that_is_cut_and_says_so_was_still_signed(signed, signing, exported):
    file = exported(signed)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    short = [line for line in lines if line.get("sequence", 0) < 12]
    short[0]["size"], short[-1]["entries"] = 12, 12
    file.write_text("".join(json.dumps(line) + "\n" for line in short), encoding="utf-8")
    verdict = both(file, signing)
    assert (verdict.kind, verdict.sequence) == (Kind.TRUNCATED, 12)


def test_an_export_that_ends_early_is_no_export(signed, signing, exported):
    file = exported(signed)
    whole = file.read_bytes()
    for part in (b"", whole[: len(whole) // 2], whole[:-30], whole + b'{"kind":"entry"}\n', b"\x00" * 100):
        file.write_bytes(part)
        with pytest.raises(ExportUnreadable):
            verify_export(file, signing.verifier_key())


def test_an_export_holds_nothing_but_what_the_log_holds(signed, exported):
    records = [json.loads(line) for line in exported(signed).read_text(encoding="utf-8").splitlines()]
    assert [record["content"] for record in records if record["kind"] == "entry"] == contents(signed)


def test_an_export_that_pruning_overtook_has_no_end_and_says_to_try_again(
    resources, signing, time, monkeypatch, exported
):
    """It would hold entries without content above the boundary that it names: no verifier could accept it, ever."""
    monkeypatch.setattr("app.actions.export_log.PAGE", 4)
    append(resources, 9)
    sign_checkpoint(resources, signing)
    time.pass_by(400 * DAY)
    lines = export_log(resources, signing)
    written = [next(lines), next(lines)]
    prune_log(resources, actor="scheduler")
    with pytest.raises(LogPrunedMeanwhile, match="again"):
        written.extend(lines)
    assert all(json.loads(line)["kind"] != "end" for line in written)
    assert both(exported(resources), signing).problem is None


# Receipts


@pytest.fixture
def deleted(resources, signing, caller, time):
    """A transfer whose deletion was verified and signed, among other entries."""
    sent = send(resources, caller)
    append(resources, 5)
    time.pass_until(sent.transfer.expires_at)
    sweep(resources)
    append(resources, 3)
    sign_checkpoint(resources, signing)
    append(resources, 7)
    return sent


def test_a_receipt_is_checked_offline_by_both(resources, signing, deleted):
    receipt, key = give_receipt(resources, deleted.id, caller=deleted.caller), signing.verifier_key()
    verdict = verify_receipt(receipt, key)
    (entry,) = log_of(resources, event="transfer.deleted")
    assert (verdict.transfer, verdict.entry) == (deleted.id, entry)
    assert check_receipt(receipt, Key(key)) == entry
    assert give_receipt(resources, deleted.id) == receipt  # an operator's is the same


def test_a_receipt_stays_right_as_the_log_grows_and_a_later_one_too(resources, signing, deleted):
    early = give_receipt(resources, deleted.id)
    append(resources, 40)
    sign_checkpoint(resources, signing)
    late, key = give_receipt(resources, deleted.id), signing.verifier_key()
    assert early != late
    assert verify_receipt(early, key).entry == verify_receipt(late, key).entry


def test_any_character_of_a_receipt_that_is_altered_refuses_it(resources, signing, deleted):
    """By both verifiers, whatever else may go wrong in reading it."""
    receipt, key = give_receipt(resources, deleted.id), signing.verifier_key()
    for place in range(0, len(receipt), 3):
        other = "A" if receipt[place] != "A" else "B"
        altered = receipt[:place] + other + receipt[place + 1 :]
        with pytest.raises(CryptoError):
            verify_receipt(altered, key)
        with pytest.raises((Refused, ValueError, IndexError)):
            check_receipt(altered, Key(key))


def test_a_receipt_for_another_entry_is_none(resources, signing, deleted):
    """A proof of an entry that says something else, however valid."""
    receipt, key = give_receipt(resources, deleted.id), signing.verifier_key()
    (created,) = log_of(resources, event="transfer.created")
    entry = contents(resources)[created["sequence"]]
    assert entry is not None
    lines = receipt.split("\n")
    lines[1], lines[2] = f"extra {base64.b64encode(entry.encode()).decode()}", f"index {created['sequence']}"
    with pytest.raises(CryptoError):
        verify_receipt("\n".join(lines), key)
    for broken in ("", "\n\n", lines[0], "\n".join(lines[:3]), receipt * 2, receipt.rstrip("\n"), receipt + "\n"):
        with pytest.raises(CryptoError):
            verify_receipt(broken, key)


def test_a_receipt_signed_by_another_key_is_refused(resources, deleted, tmp_path):
    from app.storage.signing_folder import SigningFolder

    key = SigningFolder(tmp_path / "other").signer(service_origin(resources)).verifier_key
    with pytest.raises(NoteInvalid):
        verify_receipt(give_receipt(resources, deleted.id), key)


def test_there_is_no_receipt_before_its_time_nor_for_others(resources, signing, caller, time):
    sent, stranger = send(resources, caller), a_caller(resources, name="stranger")
    for whose, refusal in ((caller, NotDeletedYet), (None, NotDeletedYet), (stranger, TransferNotFound)):
        with pytest.raises(refusal):
            give_receipt(resources, sent.id, caller=whose)
    with pytest.raises(TransferNotFound):
        give_receipt(resources, "no such", caller=caller)
    sign_checkpoint(resources, signing)
    time.pass_until(sent.transfer.expires_at)
    sweep(resources)
    with pytest.raises(ReceiptNotSigned):
        give_receipt(resources, sent.id, caller=caller)


def test_no_receipt_is_given_from_a_log_that_was_altered(resources, deleted):
    (entry,) = log_of(resources, event="transfer.deleted")
    neighbour = audit_entries.c.sequence == (entry["sequence"] ^ 1)
    alter(resources, update(audit_entries).where(neighbour).values(leaf_hash=bytes(32)))
    with pytest.raises(LogAltered):
        give_receipt(resources, deleted.id)


# Pruning


def test_old_entries_lose_content_and_salt_and_everything_still_verifies(
    resources, signing, caller, time, exported, deleted
):
    receipt, key = give_receipt(resources, deleted.id), signing.verifier_key()
    before = len(log_of(resources))
    time.pass_by(200 * DAY)
    append(resources, 4)
    time.pass_by(200 * DAY)
    assert prune_log(resources, actor="operator") == before
    held = contents(resources)
    assert [content for content in held[1:before] if content] == []
    assert '"event":"log.started"' in (held[0] or "")  # it tells of nobody
    assert all(held[before:])
    (pruned,) = log_of(resources, event="log.pruned")
    assert (pruned["below"], pruned["count"], pruned["actor"]) == (before, before, "operator")
    sign_checkpoint(resources, signing)
    verdict = verify_log(resources, signing)
    assert (verdict.problem, verdict.pruned_below) == (None, before)
    assert both(exported(resources), signing).problem is None
    assert verify_receipt(receipt, key).transfer == deleted.id
    with pytest.raises(ReceiptPruned):
        give_receipt(resources, deleted.id)


def test_pruning_again_moves_on_and_with_nothing_to_do_logs_nothing(resources, signing, time):
    append(resources, 5)
    assert prune_log(resources, actor="scheduler") == 0
    assert log_of(resources, event="log.pruned") == []
    for _ in range(5):
        time.pass_by(300 * DAY)
        append(resources, 5)
        prune_log(resources, actor="scheduler")
    assert len(log_of(resources, event="log.pruned")) == 2  # the two before were pruned themselves
    assert verify_log(resources, signing).problem is None


def test_what_a_crash_left_over_is_pruned_by_the_next_run(resources, signing, time, monkeypatch):
    append(resources, 9)
    time.pass_by(400 * DAY)

    def crash(*_given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(audit_pruning, "prune", crash)
        with pytest.raises(KeyboardInterrupt):
            prune_log(resources, actor="scheduler")
    assert all(contents(resources))
    assert verify_log(resources, signing).problem is None
    assert prune_log(resources, actor="scheduler") == 0
    assert not all(contents(resources))
    assert verify_log(resources, signing).problem is None


@pytest.mark.parametrize("with_boundary_row", [False, True])
def test_missing_content_without_a_logged_boundary_is_found(signed, signing, exported, with_boundary_row):
    """Lesson 35: somebody who removes content by hand, and knows the table of boundaries."""
    alter(signed, update(audit_entries).where(audit_entries.c.sequence < 4).values(content=None))
    if with_boundary_row:
        alter(signed, audit_boundaries.insert().values(below=4))
    for verdict in (verify_log(signed, signing), both(exported(signed), signing)):
        assert (verdict.kind, verdict.sequence) == (Kind.REMOVED, 0)


def test_content_missing_above_the_boundary_is_found(signed, signing, time, exported):
    time.pass_by(400 * DAY)
    append(signed, 6)
    prune_log(signed, actor="scheduler")
    alter(signed, update(audit_entries).where(audit_entries.c.sequence == 25).values(content=None))
    for verdict in (verify_log(signed, signing), both(exported(signed), signing)):
        assert (verdict.kind, verdict.sequence) == (Kind.REMOVED, 25)


def sizes_signed(resources) -> list[int]:
    with resources.database.reading() as connection:
        return [checkpoint.size for checkpoint in checkpoint_rows.every(connection)]


def test_of_old_checkpoints_the_last_of_each_hour_and_origin_stays(resources, signing, time, exported, monkeypatch):
    """A busy day has one a second: without end, none could hold them all to verify the log."""
    monkeypatch.setattr("app.db.audit_pages.CHECKPOINTS", 2)

    def signed_after(minutes) -> int:
        time.pass_by(minutes * timedelta(minutes=1))
        append(resources)
        checkpoint = sign_checkpoint(resources, signing)
        assert checkpoint is not None
        return checkpoint.size

    every = [signed_after(minutes) for minutes in (0, 5, 5, 60, 5)]  # from 10:15 on
    first = signing.last_checkpoint()
    renew_log(resources, signing, RenewalReason.LOG_DAMAGED)
    every += [signed_after(minutes) for minutes in (1, 1)]
    prune_log(resources, actor="scheduler")
    assert sizes_signed(resources) == every, "of the last day none goes"
    time.pass_by(2 * DAY)
    recent = [signed_after(minutes) for minutes in (0, 1)]
    prune_log(resources, actor="scheduler")
    assert sizes_signed(resources) == [every[2], every[4], every[6], *recent]
    assert both(exported(resources), signing).checkpoints == 5
    assert verify_log(resources, signing, since=first).problem is None


# A new origin


@pytest.mark.parametrize("reason", list(RenewalReason))
def test_a_new_origin_quotes_the_old_one_and_says_why(signed, signing, exported, reason):
    old, key = signing.last_checkpoint(), signing.verifier_key()
    renewed = renew_log(signed, signing, reason)
    sign_checkpoint(signed, signing)
    (entry,) = log_of(signed, event="log.renewed")
    assert (entry["quoted"], entry["outcome"], entry["sequence"]) == (old, reason, renewed.sequence)
    verdict = verify_log(signed, signing)
    assert verdict.problem is None
    (said,) = verdict.renewals
    assert (said.origin, said.signed_size, said.reason) == (renewed.old_origin, 20, reason)
    assert both(exported(signed), signing).problem is None
    new_key = signing.verifier_key()
    assert new_key.startswith(renewed.new_origin)
    assert (new_key[-44:] == key[-44:]) == (reason is RenewalReason.LOG_DAMAGED)
    # Whoever kept a checkpoint of the old origin still holds the log against it, with the key of that time.
    assert verify_log(signed, signing, since=old, public_key=None if reason == "log_damaged" else key).kind in {
        None,
        Kind.CHANGED,  # another key signs now: the old one cannot open today's checkpoints
    }


def test_an_old_checkpoint_names_what_a_renewed_log_no_longer_has(signed, signing):
    """There is no reset: a new origin explains, it does not heal."""
    old = signing.last_checkpoint()
    alter(signed, *rewritten(signed, 4, actor="somebody else"), delete(audit_checkpoints))
    with pytest.raises(LogRolledBack):
        sign_checkpoint(signed, signing)
    renew_log(signed, signing, RenewalReason.LOG_DAMAGED)
    sign_checkpoint(signed, signing)
    verdict = verify_log(signed, signing, since=old)
    assert (verdict.kind, verdict.sequence) == (Kind.FORKED, 0)


def test_what_was_changed_before_a_new_origin_stays_named(signed, signing):
    alter(signed, update(audit_entries).where(audit_entries.c.sequence == 4).values(content="{}"))
    renew_log(signed, signing, RenewalReason.LOG_DAMAGED)
    sign_checkpoint(signed, signing)
    assert verify_log(signed, signing).sequence == 4


def test_several_origins_verify_and_each_is_told(signed, signing, exported):
    renew_log(signed, signing, RenewalReason.LOG_DAMAGED)
    sign_checkpoint(signed, signing)
    accept_restore(signed, signing)
    sign_checkpoint(signed, signing)
    append(signed, 2)
    verdict = verify_log(signed, signing)
    assert (verdict.problem, [each.event for each in verdict.renewals]) == (None, ["log.renewed", "database.restored"])
    assert both(exported(signed), signing).problem is None


def test_an_origin_that_nothing_explains_is_a_fork(signed, signing, exported):
    renew_log(signed, signing, RenewalReason.LOG_DAMAGED)
    sign_checkpoint(signed, signing)
    with signed.database.reading() as connection:
        sequence = connection.execute(
            select(audit_entries.c.sequence).order_by(audit_entries.c.sequence.desc())
        ).scalar()
    assert verify_log(signed, signing).problem is None
    alter(
        signed,
        *rewritten(signed, sequence, quoted="another"),
        delete(audit_checkpoints).where(audit_checkpoints.c.size > 20),
    )
    (signed.settings.signing_dir / "checkpoint").unlink()
    assert verify_log(signed, signing).kind == Kind.FORKED


def test_an_origin_changed_behind_the_logs_back_does_not_silence_the_signer(signed, signing):
    """One column of one row: the kept checkpoint would be overwritten by one of a rewritten log."""
    kept = signing.last_checkpoint()
    alter(
        signed,
        *rewritten(signed, 4, actor="somebody else"),
        delete(audit_checkpoints),
        update(service_state).values(log_origin="caducee.log/another"),
    )
    with pytest.raises(LogRolledBack, match="no entry says why"):
        sign_checkpoint(signed, signing)
    assert signing.last_checkpoint() == kept
    renew_log(signed, signing, RenewalReason.LOG_DAMAGED)
    sign_checkpoint(signed, signing)
    assert signing.last_checkpoint() != kept


def test_an_entry_that_quotes_another_origin_does_not_explain_this_one(signed, signing):
    renew_log(signed, signing, RenewalReason.LOG_DAMAGED)
    sign_checkpoint(signed, signing)
    alter(signed, delete(audit_checkpoints), update(service_state).values(log_origin="caducee.log/another"))
    with pytest.raises(LogRolledBack):
        sign_checkpoint(signed, signing)
