"""`calldex schema`: the tables that a database needs before Calldex can keep records in it."""

from __future__ import annotations

import click

from calldex.cli.command import Command


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  calldex schema | clickhouse-client --host ch1 --database calldex --multiquery
  calldex schema --cluster main | clickhouse-client --host ch1 --database calldex --multiquery
""",
)
@click.option(
    "--engine",
    type=click.Choice(["clickhouse"]),
    default="clickhouse",
    show_default=True,
    help="The engine whose dialect it is.",
)
@click.option(
    "--cluster",
    metavar="NAME",
    help="For a cluster of your own, by its name in remote_servers: replicated tables on every node, and distributed"
    " ones over them. Without it: for one node, and for ClickHouse Cloud.",
)
def schema(engine: str, cluster: str | None) -> None:
    """Print the statements that make the tables for records.

    They belong into a database of their own, which is the one that the setting `store` names. Tables that are there
    already are left as they are.
    """
    from calldex.store.clickhouse.schema import ddl

    for statement in ddl(cluster):
        click.echo(f"{statement};\n")
