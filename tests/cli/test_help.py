"""What the command line says of itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import msgspec
import pytest

from calldex import __version__
from calldex.cli import main
from calldex.records.fields import DAY_PARAMETERS, FILTER_PARAMETERS, FILTERS
from calldex.settings import Settings
from tests.cli.tools import ROOT, calldex

HEAVY = ("sqlalchemy", "duckdb", "apsw", "httpx", "starlette", "rich", "structlog")


def commands(command: click.Command, path: str = "calldex") -> Iterator[tuple[str, click.Command]]:
    """Every command below one, with what is typed for it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, f"{path} {name}")


ALL = list(commands(main))


@pytest.mark.parametrize(("path", "command"), ALL, ids=lambda value: value if isinstance(value, str) else "")
def test_everything_has_help(path: str, command: click.Command) -> None:
    """Each command and each of its options says what it is for, and each command that does something shows an example
    that begins with it."""
    assert command.help
    assert [] == [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    if not isinstance(command, click.Group):
        assert path in (command.epilog or "")


def test_the_first_help_is_grouped() -> None:
    """Every command stands in a section, with its one line."""
    shown = calldex("--help").stdout
    assert all(f"\n{section}:\n" in shown for section in ("Run", "Records", "People", "Care"))
    for name, command in main.commands.items():
        assert f"  {name} " in shown
        assert command.get_short_help_str(100) in " ".join(shown.split())


def test_help_waits_for_no_engine() -> None:
    """What takes long to import is imported when a command runs."""
    script = f"import sys, calldex.cli; print([m for m in {HEAVY} if m in sys.modules])"
    printed = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "src")},
    )
    assert "[]" == printed.stdout.strip()


def test_search_has_every_filter() -> None:
    """The options of `search` are the filters of the API under all of their names, and the days."""
    options = {name for option in main.commands["search"].params for name in option.opts}
    names = {name for each in FILTERS for name in (each.name, *each.aliases)}
    names |= {each.name for each in (*FILTER_PARAMETERS, *DAY_PARAMETERS)}
    own = {"--limit", "--all", "--format", "--account", "--data"}
    assert {"--" + name.replace("_", "-") for name in names} == options - own


@pytest.mark.parametrize("name", ["serve", "demo"])
def test_serving_has_every_setting(name: str) -> None:
    """Every setting can be given as an option where one serves."""
    options = {option.name for option in main.commands[name].params}
    assert {field.name for field in msgspec.structs.fields(Settings)} <= options


def test_version() -> None:
    """`--version` tells the version."""
    assert f"calldex {__version__}\n" == calldex("--version").stdout
