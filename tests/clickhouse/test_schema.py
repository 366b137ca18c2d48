"""The tables in ClickHouse: what `calldex schema` prints is SQL that it reads, for one node and for a cluster."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from calldex.cli import main
from calldex.errors import BadSettings
from calldex.store.clickhouse.schema import CDR_TYPES, UUID_TYPES, VERSION, comment, ddl, version_of
from tests.clickhouse.cluster import Cluster


@pytest.mark.parametrize("cluster", [None, "main-1"])
def test_clickhouse_reads_what_is_printed(hosts: Cluster, cluster: str | None) -> None:
    """Each statement is one, in ClickHouse's own reading."""
    words = ["schema", *(["--cluster", cluster] if cluster else [])]
    printed = CliRunner(catch_exceptions=False).invoke(main, words).output
    statements = ddl(cluster)
    assert [f"{statement};" for statement in statements] == printed.strip().split("\n\n")
    for statement in statements:
        quoted = statement.replace("\\", "\\\\").replace("'", "\\'")
        assert hosts.execute(f"SELECT formatQuery('{quoted}') AS read")[0]["read"].startswith(
            ("CREATE TABLE", "ALTER TABLE")
        )


def test_one_node_makes_the_tables(hosts: Cluster) -> None:
    """Twice, and the second time changes nothing."""
    hosts.execute("CREATE DATABASE made")
    for _ in range(2):
        for statement in ddl():
            hosts.execute(statement, database="made")
    found = hosts.execute("SELECT name, comment FROM system.tables WHERE database = 'made' ORDER BY name")
    assert [{"name": name, "comment": comment()} for name in ("cdr", "cdr_uuid")] == found
    hosts.execute("DROP DATABASE made")


def test_clickhouse_fits_the_table(hosts: Cluster) -> None:
    """So has ClickHouse, of the types that are written."""
    hosts.execute("CREATE DATABASE fits")
    for statement in ddl():
        hosts.execute(statement, database="fits")
    for table, types in (("cdr", CDR_TYPES), ("cdr_uuid", UUID_TYPES)):
        columns = hosts.execute(f"SELECT name, type FROM system.columns WHERE database = 'fits' AND table = '{table}'")
        found = {
            each["name"]: re.sub(r"^SimpleAggregateFunction\(max, (.*)\)$", r"\1", each["type"]) for each in columns
        }
        assert types == found
    hosts.execute("DROP DATABASE fits")


def test_a_cluster_keeps_an_account_together() -> None:
    """Every table is replicated on the nodes, and a distributed one sends all of an account to one shard."""
    statements = ddl("main")
    assert 4 == sum(statement.startswith("CREATE TABLE") for statement in statements)
    assert all(" ON CLUSTER 'main'" in statement for statement in statements)
    assert 2 == sum("ENGINE = Replicated" in statement for statement in statements)
    assert 2 == sum("cityHash64(account_id))" in statement for statement in statements)


@pytest.mark.parametrize("name", ["", "a b", "x'", "a" * 65])
def test_what_is_no_name_of_a_cluster(name: str) -> None:
    """It is refused, with what is valid."""
    with pytest.raises(BadSettings, match="is no name of a cluster"):
        ddl(name)


def test_the_version_of_a_schema() -> None:
    """It stands in the comment; anything else is no schema of ours."""
    assert VERSION == version_of(comment())
    assert [12, None, None] == [version_of(text) for text in ("calldex schema 12", "", "calldex schema x")]
