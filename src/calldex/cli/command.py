"""What every command and group of commands has in common."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from calldex.errors import CalldexError


class Command(click.Command):
    """A command whose problems have the names that were typed: `--start-date`, not `start_date`."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except CalldexError as error:
            typed = {param.name: param.opts[0] for param in self.params if isinstance(param, click.Option)}
            typed |= {f"--{name}": option for name, option in typed.items()}  # so settings name theirs
            error.problems = tuple(
                msgspec.structs.replace(
                    problem, parameter=typed.get(problem.parameter.partition("[")[0], problem.parameter)
                )
                for problem in error.problems
            )
            raise


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
