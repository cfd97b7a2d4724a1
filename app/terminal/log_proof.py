"""`caducee audit`: verification, export, receipts, pruning, and a new origin of the log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from app.actions.export_log import export_log
from app.actions.give_receipt import give_receipt
from app.actions.prune_log import prune_log
from app.actions.renew_log import renew_log
from app.actions.sign_checkpoint import sign_checkpoint
from app.actions.verify_export import verify_export
from app.actions.verify_log import verify_log
from app.actions.verify_receipt import verify_receipt
from app.crypto.errors import CryptoError
from app.domain.audit_events import RenewalReason
from app.domain.log_verdict import LogVerdict, Renewal
from app.storage.signing_folder import SigningFolder
from app.terminal.console import CANNOT, REFUSED, AsJson, put, put_json, say
from app.terminal.opened import opened

_MAX_CHARS = 1 << 20


def add_to(tree: typer.Typer) -> None:
    """Add the commands to `caducee audit`."""
    tree.command("verify")(verify)
    tree.command("export")(export)
    tree.command("receipt")(receipt)
    tree.command("verify-receipt")(check_receipt)
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
    noted, key = _text_of(since), _text_of(public_key)
    if exported is not None and key is None:
        say("--export needs --public-key: a key that comes with the log proves nothing")
        raise typer.Exit(CANNOT)
    with _progress("verifying") as progress:
        if exported is not None and key is not None:
            verdict = verify_export(exported, key, since=noted, progress=progress)
        else:
            with opened() as resources:
                signing = SigningFolder(resources.settings.signing_dir)
                verdict = verify_log(resources, signing, since=noted, public_key=key, progress=progress)
    if as_json:
        put_json({**asdict(verdict), "verified": verdict.problem is None})
    else:
        _tell(verdict)
    if verdict.problem is not None:
        raise typer.Exit(REFUSED)


def export() -> None:
    """Write the log to stdout as JSON lines, for verification without the service."""
    with _progress("exporting") as progress, opened() as resources:
        for line in export_log(resources, SigningFolder(resources.settings.signing_dir), progress=progress):
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def receipt(transfer_id: Annotated[str, typer.Argument(metavar="TRANSFER", help="The id of the transfer.")]) -> None:
    """Print the receipt of a transfer's deletion: a signed proof, to be kept as a file."""
    with opened() as resources:
        sys.stdout.write(give_receipt(resources, transfer_id))


def check_receipt(
    file: Annotated[Path, typer.Argument(help="The receipt.")],
    *,
    public_key: Annotated[Path, typer.Option(help="The log's public key.")],
    as_json: AsJson = False,
) -> None:
    """Verify a receipt offline against the log's public key. Exit 1 if it is not valid."""
    try:
        verdict = verify_receipt(_text_of(file) or "", _text_of(public_key) or "")
    except CryptoError as error:
        if as_json:
            put_json({"verified": False, "problem": str(error)})
        else:
            put(f"NOT verified: {error}")
        raise typer.Exit(REFUSED) from None
    if as_json:
        put_json({**asdict(verdict), "verified": True})
        return
    put(f"verified: transfer {verdict.transfer} was deleted")
    say(f"neither keys nor bytes were found at {verdict.entry['time']}")
    say(f"entry {verdict.entry['sequence']} of {verdict.size} in the log {verdict.origin}")


def prune() -> None:
    """Remove the content of entries older than CADUCEE_AUDIT_RETENTION; their hashes stay."""
    with opened(as_scheduler=True) as resources:
        put(f"{prune_log(resources, actor='operator')} entries pruned")


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


def _text_of(file: Path | None) -> str | None:
    if file is None:
        return None
    with file.open(encoding="utf-8", newline="") as stream:
        return stream.read(_MAX_CHARS)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr if it is a terminal."""
    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _tell(verdict: LogVerdict) -> None:
    if verdict.problem is None:
        put(f"verified: {verdict.entries} entries, {verdict.checkpoints} checkpoints")
    else:
        place = "" if verdict.sequence is None else f" (entry {verdict.sequence})"
        put(f"NOT verified: {verdict.kind}: {verdict.problem}{place}")
    if verdict.pruned_below:
        put(f"entries below {verdict.pruned_below} are pruned: hashes only")
    for renewal in verdict.renewals:
        put(_renewed(renewal))


def _renewed(renewal: Renewal) -> str:
    why = f", {renewal.reason}" if renewal.reason else ""
    signed = (
        "nothing was signed under it" if renewal.signed_size is None else f"signed for {renewal.signed_size} entries"
    )
    lost = max(0, (renewal.signed_size or 0) - renewal.sequence)
    missing = f", {lost} of them LOST" if lost else ""
    what = f"entry {renewal.sequence}: {renewal.event}{why}"
    return f"{what}: a new origin in place of {renewal.origin}, {signed}{missing}"
