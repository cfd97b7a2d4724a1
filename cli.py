"""The command tree of `caducee`. The commands are in `app/terminal/`; a start imports only what it was called for."""

from __future__ import annotations

import sys
from collections.abc import Collection
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import typer


class Command(NamedTuple):
    """A command or group: the attribute `name` of a module of `app/terminal/`, and the summary that `--help` shows
    without importing that module. Unless it `is_client`, it needs the extra `server`.
    """

    module: str
    name: str
    summary: str
    is_client: bool = False


COMMANDS = {
    "send": Command("sending", "send", "Send files, encrypted on this machine.", is_client=True),
    "get": Command("fetching", "get", "Fetch the files of a link, decrypted on this machine.", is_client=True),
    "watch": Command(
        "watching",
        "watch",
        "Send each file that appears in DIR/out, once; two commands hand over link and password.",
        is_client=True,
    ),
    "sent": Command(
        "sending", "sent", "List what was sent from here, to whom, and whether it was fetched.", is_client=True
    ),
    "serve": Command("serve", "serve", "Run the service, and the scheduler with it."),
    "scheduler": Command(
        "serve", "scheduler", "Run only the scheduler: it ends expired transfers, deletes them, and signs the log."
    ),
    "sweep": Command("sweep", "sweep_", "End and delete everything that is due."),
    "doctor": Command("doctor", "doctor", "Examine the installation, and say what to do."),
    "share": Command("shares", "tree", "Shares: one recipient's right to fetch a transfer once.", is_client=True),
    "transfer": Command("transfers", "tree", "Transfers.", is_client=True),
    "transfer list": Command("transfers_here", "list_", "List the transfers of all depositors, newest first."),
    "transfer show": Command("transfers_here", "show", "Show one transfer with its files and shares."),
    "keys": Command("keys", "tree", "The key vault."),
    "token": Command("tokens", "tree", "Access tokens."),
    "session": Command("sessions", "tree", "Sessions of signed-in browsers."),
    "audit": Command("audit", "tree", "The audit log and the proof of deletion."),
    "clock": Command("clock", "tree", "The clock that decides on every expiry."),
    "lockdown": Command("lockdown", "tree", "Refuse all deposits, claims and downloads at once."),
    "intake": Command("intake", "tree", "Accept no new transfers, while those that exist go on."),
    "db": Command("db", "tree", "The database."),
    "config": Command("config", "tree", "Settings."),
}
"""In the order of `--help`: first commands, then groups."""


def build(only: Collection[str] | None = None) -> typer.Typer:
    """Return the tree: of the client's commands, and of the service's if its packages are installed. With `only`, the
    other commands are listed by their summaries, and cannot be called.
    """
    import typer

    from app.terminal.extras import has_server
    from app.terminal.program import program

    tree = typer.Typer(
        name="caducee",
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help: no frames and no colours, whatever the console
        pretty_exceptions_enable=False,  # a traceback with local variables could show a key
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},  # every group and command inherits it
    )
    tree.callback()(program)
    with_server = has_server()
    groups = {"": tree}
    for name, command in COMMANDS.items():
        above, _, word = name.rpartition(" ")
        if above not in groups or not (command.is_client or with_server):
            continue
        if only is not None and word not in only:
            groups[above].command(word, help=command.summary)(_not_loaded)
            continue
        found = getattr(import_module(f"app.terminal.{command.module}"), command.name)
        if isinstance(found, typer.Typer):
            groups[above].add_typer(found, name=word)
            groups[word] = found
        else:
            groups[above].command(word)(found)
    return tree


def _not_loaded() -> None:
    raise RuntimeError("a command that was not named has been called")


def main() -> None:
    """Run the command line. Refusals and failures are reported in one line."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:  # before anything else is imported
        from app.terminal.version import print_version

        print_version()
        return
    try:
        from app.terminal import console
    except KeyboardInterrupt:  # from here on, the console reports it
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    sys.exit(console.run(lambda: build(only=arguments)))


if __name__ == "__main__":
    main()
