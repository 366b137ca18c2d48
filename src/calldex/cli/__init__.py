"""The command line.

Each command is a thin layer: it reads what was typed, asks the node of the data directory through the control surface
(`client`), and prints. Nothing is decided here that a layer below decides, and nothing is opened here that a server may
own. Modules of commands import what is heavy only when a command runs, so that `calldex --help` answers at once.

Exit codes: 0 done; 1 a check found something, or what was named does not exist or is in the way; 2 what was asked has
to change; 3 the same may work later; 4 the disk is full; 5 a file cannot be read; 6 the data directory is in use; 7 it
is of a newer version; 8 the port is taken; 9 imported, but some pieces were rejected; 130 interrupted.
"""

from __future__ import annotations

import errno
from typing import Any, Final, NoReturn

import click

from calldex import __version__
from calldex.cli.accounts import accounts
from calldex.cli.audit import audit
from calldex.cli.care import backup, check, restore, settings
from calldex.cli.exporting import export
from calldex.cli.exports import exports
from calldex.cli.groups import access, groups
from calldex.cli.importing import import_
from calldex.cli.keys import keys
from calldex.cli.migrating import migrate
from calldex.cli.names import names
from calldex.cli.schema import schema
from calldex.cli.searching import search
from calldex.cli.serving import demo, serve
from calldex.cli.signin import openid, sessions
from calldex.cli.sources import quarantine, sources
from calldex.cli.sync import sync
from calldex.cli.teams import teams
from calldex.cli.users import users
from calldex.errors import CalldexError

_SECTIONS: Final[dict[str, tuple[click.Command, ...]]] = {
    "Run": (demo, serve),
    "Records": (import_, search, export, exports, sources, quarantine),
    "Copies": (sync,),
    "People": (accounts, users, teams, groups, keys, names, access, sessions, openid),
    "Care": (check, backup, restore, schema, migrate, settings, audit),
}
_INTERRUPTED: Final = 130


class _Calldex(click.Group):
    """The command `calldex`: its help in sections, its errors as one message and an exit code."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands, by what they are for."""
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(str(each.name), each.get_short_help_str(100)) for each in commands])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except CalldexError as error:
            _exit(ctx, "\n".join(map(str, error.problems)) or error.message, error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            _exit(ctx, "interrupted", _INTERRUPTED)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            exit_code = 4 if error.errno in (errno.ENOSPC, errno.EDQUOT) else 5
            _exit(ctx, f"{error.filename or 'input or output'}: {error.strerror}", exit_code)


def _exit(context: click.Context, message: str, exit_code: int) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    context.exit(exit_code)


@click.group(cls=_Calldex, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="calldex", message="%(prog)s %(version)s")
def main() -> None:
    """Calldex keeps the call detail records of contact centres and answers the CDR API over them.

    Everything lives in one data directory: --data DIR, or CALLDEX_DATA, or ./data. While a server runs on it, the other
    commands work through that server, so they can be used at any time.

    `calldex demo` makes a believable contact centre to look at; `calldex COMMAND --help` shows examples.
    """


for _commands in _SECTIONS.values():
    for _command in _commands:
        main.add_command(_command)
