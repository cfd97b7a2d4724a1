"""The command tree of `caducee`. The commands of each noun are in `app/terminal/`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def build() -> typer.Typer:
    """Return the whole tree. The service's commands are included if the extra `server` is installed."""
    import typer

    from app.terminal import fetching, sending, shares, transfers, watching
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
    tree.command("send")(sending.send)
    tree.command("get")(fetching.get)
    tree.command("watch")(watching.watch)
    tree.command("sent")(sending.sent)
    tree.add_typer(shares.tree, name="share")
    tree.add_typer(transfers.tree, name="transfer")
    try:
        from app.terminal import service_commands
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("app"):
            raise
    else:
        service_commands.add_to(tree)
    return tree


def main() -> None:
    """Run the command line. Refusals and failures are reported in one line."""
    if sys.argv[1:] == ["--version"]:  # before anything else is imported
        from app.terminal.version import print_version

        print_version()
        return
    from app.terminal import console

    sys.exit(console.run(build))


if __name__ == "__main__":
    main()
