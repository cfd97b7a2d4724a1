"""`caducee audit`: the audit log and retention, for administrators, the DPO and auditors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.actions.drill_restore import drill_restore
from app.actions.reconcile import count_orphans
from app.actions.report_retention import RetentionReport, Wrong, report_retention
from app.actions.sign_checkpoint import LogRolledBack, sign_checkpoint
from app.crypto.proof_text import KEY_LABEL
from app.domain.duration import format_duration
from app.lifecycle.forged_entries import LogForged
from app.reports.retention import retention_page
from app.runtime.installation import InstallationMismatch
from app.runtime.resources import Resources
from app.storage.errors import StorageError
from app.storage.signing_folder import SigningFolder
from app.terminal import log_proof
from app.terminal.audit_log import log
from app.terminal.caller_file import caller_file
from app.terminal.console import CANNOT, REFUSED, AsJson, put, put_exact, put_json, put_table, say
from app.terminal.deliveries import deliveries
from app.terminal.exposure import exposure
from app.terminal.opened import opened, opened_read_only
from app.terminal.report_options import Language, PageFile, PageLanguage, TextFile

tree = typer.Typer(help="The audit log and the proof of deletion.", no_args_is_help=True)


tree.command("log")(log)


@tree.command("checkpoint")
def checkpoint(*, output: TextFile = None, as_json: AsJson = False) -> None:
    """Sign the current log and print the checkpoint. Keep it on another system."""
    with caller_file(output) as write, opened(as_scheduler=True) as resources:
        signing = SigningFolder(resources.settings.signing_dir)
        try:
            sign_checkpoint(resources, signing)
        except (LogForged, LogRolledBack) as error:
            say(str(error))
            raise typer.Exit(REFUSED) from None
        note, key = signing.last_checkpoint() or "", signing.verifier_key()
        write(note)
    if as_json:
        put_json({"note": note, "public_key": key})
        return
    say(f"{KEY_LABEL}{key}")
    if output is None:
        put_exact(note)


@tree.command("drill")
def drill(
    *,
    restored: Annotated[Path, typer.Option(exists=True, help="The folder with an unpacked backup.")],
    postgres_bin: Annotated[
        Path | None, typer.Option(help="The folder of PostgreSQL's programs, if they are not found.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove that no ended transfer is readable in a restored backup. Exit 1 if one is, 2 if none has ended."""
    with opened() as resources:
        result = drill_restore(resources, restored, postgres_bin=postgres_bin)
    if as_json:
        put_json({**asdict(result), "passed": result.passed})
    else:
        for finding in result.findings:
            put(finding)
        verdict = "passed" if result.passed else "FAILED" if result.findings else "PROVED NOTHING"
        put(f"drill {verdict}: {result.transfers} transfers in the backup, {result.ended} of them ended since")
    if result.proved_nothing:
        say("nothing in the backup has ended since: let a transfer expire, or use an older backup")
        raise typer.Exit(CANNOT)
    if result.findings:
        raise typer.Exit(REFUSED)


@tree.command("retention")
def retention(
    *,
    html: PageFile = None,
    lang: Language = PageLanguage.EN,
    as_json: AsJson = False,
) -> None:
    """Report held and overdue data. Exit 0 if clean, 1 if overdue, orphaned or contradicted, 2 if not provable."""
    with caller_file(html) as write_page, opened_read_only() as resources:
        report = report_retention(resources, orphans=_orphans(resources))
        settings = resources.settings
        if html is not None:
            write_page(retention_page(report, settings, lang.value))
    if as_json:
        put_json({**asdict(report), "exit_code": report.exit_code})
    else:
        _print_retention(report, format_duration(settings.deadman))
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _orphans(resources: Resources) -> int | None:
    """Return the number of blobs, keys and rows that belong to nothing; None if a store cannot be read."""
    try:
        return sum(result.orphans for result in count_orphans(resources))
    except (StorageError, InstallationMismatch) as error:
        say(f"orphans could not be counted: {error}")
        return None


tree.command("exposure")(exposure)
tree.command("deliveries")(deliveries)
log_proof.add_to(tree)

HEADLINES = {
    Wrong.OVERDUE: "OVERDUE: something should be gone and is not",
    Wrong.ORPHANED: "ORPHANED: blobs, keys or rows belong to nothing",
    Wrong.CONTRADICTED: "CONTRADICTED: rows contradict the log or the vault",
    Wrong.STRANGE: "STRANGE: files in the vault that the service did not write",
}


def _print_retention(report: RetentionReport, deadman: str) -> None:
    rows: list[tuple[str, object]] = [
        (f"transfers {state}", count) for state, count in sorted(report.transfers.items())
    ]
    rows += [
        ("overdue", report.overdue),
        ("worst lateness", f"{report.worst_lateness_s} s"),
        ("failing deletions", len(report.failing)),
        ("keys past due in the vault", _known(report.vault.keys_past_due)),
        ("hour keys past due", _known(report.vault.hours_past_due)),
        ("orphans", _known(report.orphans)),
        ("rows that contradict log or vault", report.witnesses.found),
        ("compared", report.witnesses.compared_at or "NOT within two hours"),
        ("strange files in the vault", len(report.witnesses.strangers)),
        ("last successful sweep", report.last_sweep_at or "never"),
        ("sweeping", "yes" if report.sweeping else f"NO: none succeeded within {deadman}"),
        ("gaps between sweeps, 30 days", len(report.gaps)),
        ("clock", report.clock_problem or "trusted"),
        ("lockdown", report.locked_down_at or "no"),
        ("last restore drill", report.last_drill_at or "never"),
    ]
    put_table(("WHAT", "VALUE"), rows)
    for line in _headlines(report):
        put(line)
    for problem in _problems(report):
        put(problem)


def _headlines(report: RetentionReport) -> Iterator[str]:
    if report.exit_code == CANNOT:
        yield "CANNOT PROVE that everything due is gone"
    elif not report.wrong:
        yield "clean: nothing is overdue"
    yield from (HEADLINES[each] for each in report.wrong)


def _problems(report: RetentionReport) -> Iterator[str]:
    """Yield one line per problem."""
    yield from (problem for problem in (report.vault.problem, report.rolled_back, report.log_forged) if problem)
    yield from (f"failing: {transfer}" for transfer in report.failing)
    yield from (
        f"contradiction: {each.word} {each.transfer or ''}".rstrip() for each in report.witnesses.contradictions
    )
    yield from (f"strange in the vault: {place!r}" for place in report.witnesses.strangers)


def _known(count: int | None) -> object:
    return "unknown" if count is None else count
