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
@click.option(
    "--since",
    type=click.IntRange(0),
    default=0,
    metavar="VERSION",
    help="Only what brings tables of this schema version up to date.",
)
def schema(engine: str, cluster: str | None, since: int) -> None:
    """Print the statements that make the tables for records.

    They belong into a database of their own, which is the one that the setting `store` names. Tables that an older
    Calldex has made are brought up to date when a newer one starts, if its user may change tables; otherwise by what
    --since prints.
    """
    from calldex.store.clickhouse.schema import ddl

    for statement in ddl(cluster, since):
        click.echo(f"{statement};\n")
