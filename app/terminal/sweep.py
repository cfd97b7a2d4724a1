"""`caducee sweep`: run one sweep now, whether or not the service is running."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import typer

from app.actions.keep_time import keep_time
from app.actions.sign_checkpoint import sign_checkpoint
from app.actions.sweep import sweep
from app.runtime.resources import Resources
from app.storage.errors import StorageError
from app.storage.signing_folder import SigningFolder
from app.terminal.console import REFUSED, AsJson, put, put_json, say
from app.terminal.opened import opened


def sweep_(*, as_json: AsJson = False) -> None:
    """End and delete everything that is due. Exit 1 if something could not be deleted."""
    with opened(as_scheduler=True) as resources:
        resources.database.reserve.make()
        assured = _keep_time(resources)
        report = asyncio.run(sweep(resources, assured=assured))
        if resources.settings.sign_log:
            sign_checkpoint(resources, SigningFolder(resources.settings.signing_dir))
    if as_json:
        put_json({**asdict(report), "succeeded": report.succeeded})
    else:
        put(f"ended {report.ended}, deleted {report.deleted}, failed {report.failed}")
        if not report.succeeded:
            put(f"still there: {report.keys_left} with keys, {report.bytes_left} with bytes for over an hour")
    if report.failed or not report.succeeded or not assured:
        raise typer.Exit(REFUSED)


def _keep_time(resources: Resources) -> bool:
    """Keep the time. A mark that cannot be stored, for example on a full volume, holds up no deletion, but the sweep
    does not count as successful.
    """
    try:
        keep_time(resources)
    except StorageError as error:
        say(f"the time could not be kept: {error}")
        return False
    return True
