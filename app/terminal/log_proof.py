"""`caducee audit`: verification, export, receipts, pruning, and a new origin of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress

from app.actions.certify_deletion import certify_deletion
from app.actions.export_log import export_log
from app.actions.give_receipt import give_receipt
from app.actions.prune_log import prune_log
from app.actions.renew_log import renew_log
from app.actions.sign_checkpoint import sign_checkpoint
from app.actions.verify_consistency import verify_consistency
from app.actions.verify_export import ExportUnreadable, verify_export
from app.actions.verify_log import verify_log
from app.actions.verify_receipt import verify_receipt
from app.crypto.errors import CryptoError
from app.domain.audit_events import RenewalReason
from app.domain.document import document
from app.domain.log_verdict import LogVerdict, Renewal
from app.reports.certificate import certificate_page
from app.storage.signing_folder import SigningFolder
from app.terminal.caller_file import caller_file
from app.terminal.console import CANNOT, REFUSED, AsJson, put, put_exact, put_json, say
from app.terminal.opened import opened
from app.terminal.proof_file import WrongFile, checkpoint_in, consistency_proof_in, public_key_in, receipt_in
from app.terminal.report_options import Language, PageLanguage, TextFile

_ASK = "ask the administrators why; then take a new checkpoint, and compare with that one from now on"


def add_to(tree: typer.Typer) -> None:
    """Add the commands to `caducee audit`."""
    tree.command("verify")(verify)
    tree.command("export")(export)
    tree.command("receipt")(receipt)
    tree.command("verify-receipt")(check_receipt)
    tree.command("certificate")(certificate)
    tree.command("verify-consistency")(check_consistency)
    tree.command("prune")(prune)
    tree.command("new-log")(new_log)


def verify(
    *,
    since: Annotated[Path | None, typer.Option(help="A checkpoint kept elsewhere, which the log must extend.")] = None,
    public_key: Annotated[Path | None, typer.Option(help="The log's public key, as kept elsewhere.")] = None,
    exported: Annotated[Path | None, typer.Option("--export", help="Check an exported log instead, offline.")] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the whole log by recomputing it. Exit 1 if an entry fails; the first one is named, with the reason."""
    noted = None if since is None else checkpoint_in(since)
    key = None if public_key is None else public_key_in(public_key)
    if exported is not None and key is None:
        say("--export needs --public-key: a key that comes with the log proves nothing")
        raise typer.Exit(CANNOT)
    with _progress("verifying") as progress:
        if exported is not None and key is not None:
            verdict = _verify_file(exported, key, noted, progress)
        else:
            with opened() as resources:
                signing = SigningFolder(resources.settings.signing_dir)
                verdict = verify_log(resources, signing, since=noted, public_key=key, progress=progress)
    if as_json:
        put_json({**asdict(verdict), "verified": verdict.problem is None})
    else:
        _tell(verdict, noted)
    if verdict.problem is not None:
        raise typer.Exit(REFUSED)


def _verify_file(file: Path, key: str, since: str | None, progress: Callable[[int, int], None]) -> LogVerdict:
    """Verify an export. Raises WrongFile for a file that is none, or is incomplete."""
    try:
        return verify_export(file, key, since=since, progress=progress)
    except ExportUnreadable as error:
        raise WrongFile(f"{file}: {error}") from None


def export(*, output: TextFile = None) -> None:
    """Write the log to stdout as JSON lines, for verification without the service."""
    with caller_file(output) as write, _progress("exporting") as progress, opened() as resources:
        put_line = put_exact if output is None else write
        for line in export_log(resources, SigningFolder(resources.settings.signing_dir), progress=progress):
            put_line(f"{line}\n")


def receipt(
    transfer_id: Annotated[str, typer.Argument(metavar="TRANSFER", help="The id of the transfer.")],
    *,
    output: TextFile = None,
) -> None:
    """Print the receipt of a transfer's deletion: a signed proof, to be kept as a file."""
    with caller_file(output) as write, opened() as resources:
        proof = give_receipt(resources, transfer_id)
        write(proof)
    if output is None:
        put_exact(proof)


def check_receipt(
    file: Annotated[Path, typer.Argument(help="The receipt.")],
    *,
    public_key: Annotated[Path, typer.Option(help="The log's public key.")],
    as_json: AsJson = False,
) -> None:
    """Verify a receipt offline against the log's public key. Exit 1 if it is not valid."""
    key = public_key_in(public_key)
    try:
        verdict = verify_receipt(receipt_in(file), key)
    except CryptoError as error:
        _not_verified(error, as_json=as_json)
    if as_json:
        put_json({**asdict(verdict), "verified": True})
        return
    put(f"verified: transfer {verdict.transfer} was deleted")
    say(f"neither keys nor bytes were found at {verdict.entry['time']}")
    say(f"entry {verdict.entry['sequence']} of {verdict.size} in the log {verdict.origin}")


def _not_verified(error: CryptoError, *, as_json: bool) -> NoReturn:
    if as_json:
        put_json({"verified": False, "problem": str(error)})
    else:
        put(f"NOT verified: {error}")
    raise typer.Exit(REFUSED) from None


def check_consistency(
    file: Annotated[Path, typer.Argument(help="The proof, as the service's consistency page shows it.")],
    *,
    since: Annotated[Path, typer.Option(help="The checkpoint that was kept.")],
    public_key: Annotated[Path, typer.Option(help="The log's public key.")],
    as_json: AsJson = False,
) -> None:
    """Verify offline that the log only grew since a kept checkpoint. Exit 1 if the proof is not valid."""
    kept, key = checkpoint_in(since), public_key_in(public_key)
    try:
        verdict = verify_consistency(consistency_proof_in(file), kept, key)
    except CryptoError as error:
        _not_verified(error, as_json=as_json)
    if as_json:
        put_json({**asdict(verdict), "verified": True})
    else:
        put(f"verified: the log grew from {verdict.kept_size} to {verdict.size} entries and only appended")


def certificate(
    transfer_id: Annotated[str, typer.Argument(metavar="TRANSFER", help="The id of the transfer.")],
    *,
    lang: Language = PageLanguage.EN,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the page to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the certificate of a transfer's destruction, one HTML page to file. Refused until it is verified."""
    with caller_file(output) as write_page, opened() as resources:
        certified = certify_deletion(resources, give_receipt(resources, transfer_id))
        page = certificate_page(certified, resources.settings, lang.value)
        write_page(page)
    if as_json:
        put_json(document(certified))
    elif output is None:
        put_exact(page)


def prune(*, as_json: AsJson = False) -> None:
    """Remove the content of entries older than CADUCEE_AUDIT_RETENTION; their hashes stay."""
    with opened(as_scheduler=True) as resources:
        pruned = prune_log(resources, actor="operator")
    if as_json:
        put_json({"pruned": pruned})
    else:
        put(f"{pruned} entries pruned")


def new_log(
    *,
    reason: Annotated[RenewalReason, typer.Option(help="The reason, which is logged. Nothing is reset.")],
    as_json: AsJson = False,
) -> None:
    """Continue the log under a new origin that quotes the old one's last checkpoint, and sign it."""
    with opened(as_scheduler=True, key_lost=reason is RenewalReason.KEY_LOST) as resources:
        signing = SigningFolder(resources.settings.signing_dir)
        renewed = renew_log(resources, signing, reason)
        sign_checkpoint(resources, signing)
        key = signing.verifier_key()
    if as_json:
        put_json({**asdict(renewed), "public_key": key})
        return
    put(f"{renewed.old_origin} is closed; the log continues as {renewed.new_origin} from entry {renewed.sequence}")
    say(f"distribute the new public key: {key}")


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr if it is a terminal that can redraw a line."""
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not console.is_terminal or console.is_dumb_terminal)
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _tell(verdict: LogVerdict, kept: str | None) -> None:
    if verdict.problem is None:
        put(f"verified: {verdict.entries} entries, {verdict.checkpoints} checkpoints")
    else:
        place = "" if verdict.sequence is None else f" (entry {verdict.sequence})"
        put(f"NOT verified: {verdict.kind}: {verdict.problem}{place}")
    if verdict.pruned_below:
        put(f"entries below {verdict.pruned_below} are pruned: hashes only")
    for renewal in verdict.renewals:
        put(_renewed(renewal))
        if kept is not None and kept.partition("\n")[0] == renewal.origin:
            say(f"entry {renewal.sequence} closed the origin of the checkpoint that you kept: {_ASK}")


def _renewed(renewal: Renewal) -> str:
    why = f", {renewal.reason}" if renewal.reason else ""
    signed = (
        "nothing was signed under it" if renewal.signed_size is None else f"signed for {renewal.signed_size} entries"
    )
    missing = f", up to {renewal.lost} entries LOST" if renewal.lost else ""
    what = f"entry {renewal.sequence}: {renewal.event}{why}"
    return f"{what}: a new origin in place of {renewal.origin}, {signed}{missing}"
