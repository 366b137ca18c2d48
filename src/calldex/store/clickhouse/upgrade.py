"""Tables of an older Calldex are brought up to date: once, whichever node is first, while others go on.

The steps are those of `schema`. What versions lack that are there already ClickHouse fills in by itself, part by part,
and goes on with it after a restart; until it has, searches by those columns are refused with how far it is.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable
from typing import Final

import structlog

from calldex.errors import CalldexError, StoreNotReady, UnreadableInput, WrongVersion
from calldex.search.query import Query
from calldex.store.clickhouse.client import Hosts
from calldex.store.clickhouse.dialect import CDR_TABLE
from calldex.store.clickhouse.schema import CLUSTER, LOCAL, PLAIN, UUID_TABLE, VERSION, steps, version_of
from calldex.store.commits import Commits
from calldex.store.sql import Sql

_FILLED: Final = re.compile(r"MATERIALIZE COLUMN (\w+)")
_AFRESH_S: Final = 1.0
"""How long it counts what ClickHouse said about its progress."""

_log = structlog.get_logger(__name__)


class Upgrade:
    """Of the tables that some hosts have; `cluster` if they are a cluster's."""

    def __init__(self, hosts: Hosts, cluster: str | None) -> None:
        self._hosts, self._cluster = hosts, cluster
        self._lacking = {name for migration in PLAIN for name in _FILLED.findall(migration.text)}
        self._lock = threading.Lock()
        self._asked_at = 0.0
        self._filled = 0

    def bring(self, address: object, commits: Commits) -> None:
        """Bring the tables to the version of this program. Raises `WrongVersion` if they are of a newer one, or of
        none, `UnreadableInput` if they cannot be changed."""
        if self._version(address) < VERSION:
            with commits.migrating():  # one node alone; those that come later find it done
                found = self._version(address)
                try:
                    self._apply(found)
                except CalldexError as error:
                    raise UnreadableInput(
                        f"the tables of {address} have schema version {found} and cannot be brought to {VERSION}:"
                        f" {error}. Run what `calldex schema --since {found}` prints as a user who may change tables"
                    ) from error

    def _apply(self, version: int) -> None:
        for migration in (PLAIN if self._cluster is None else CLUSTER)[version:]:
            for step in steps(migration, self._cluster):
                self._hosts.command(Sql(step.statement))
            _log.info("schema_migrated", to=migration.name)

    def _version(self, address: object) -> int:
        """That of the table which has come least far."""
        found = self._hosts.rows(
            Sql(
                "SELECT name, comment FROM system.tables WHERE database = currentDatabase() AND name IN ?",
                ([CDR_TABLE, UUID_TABLE],),
            )
        )
        versions = []
        for name, comment in sorted(found):
            version = version_of(comment)
            if version is None or version > VERSION:
                raise WrongVersion(
                    f"the table {name} of {address} has {_named(version)}; this program knows version {VERSION};"
                    " use the Calldex that made it"
                )
            versions.append(version)
        return min(versions)

    def refuse(self, query: Query, more: Iterable[str] = ()) -> None:
        """Raise `StoreNotReady` if a search asks for a column that has not all its values, or for one of `more`."""
        wanted = [*(condition.column for condition in query.where), *more]
        if not self._lacking.isdisjoint(wanted):
            with self._lock:
                if time.monotonic() - self._asked_at >= _AFRESH_S:
                    self._ask()
                name = next((name for name in wanted if name in self._lacking), None)
            if name is not None:
                raise StoreNotReady(
                    f"searches by {name} cannot be answered yet: ClickHouse has written {self._filled} % of its parts"
                    " again for it",
                    retry_after=5,
                )

    def _ask(self) -> None:
        table = f"{CDR_TABLE}{'' if self._cluster is None else LOCAL}"
        mutations, parts = (
            f"system.{name}" if self._cluster is None else f"clusterAllReplicas('{self._cluster}', system.{name})"
            for name in ("mutations", "parts")
        )
        mine = "database = currentDatabase() AND table = ?"
        running = self._hosts.rows(
            Sql(
                f"SELECT command, parts_to_do, latest_fail_reason FROM {mutations} WHERE {mine} AND is_done = 0"
                " AND command LIKE '%MATERIALIZE COLUMN%'",
                (table,),
            )
        )
        ((whole,),) = self._hosts.rows(Sql(f"SELECT count() FROM {parts} WHERE {mine} AND active", (table,)))
        left = max((to_do for _, to_do, _ in running), default=0)
        self._filled = 100 * max(whole - left, 0) // max(whole, 1)
        self._lacking &= {name for command, _, _ in running for name in _FILLED.findall(command)}
        for reason in {reason for _, _, reason in running if reason}:
            _log.warning("columns_not_filled", reason=reason)
        self._asked_at = time.monotonic()


def _named(version: int | None) -> str:
    return "no schema of Calldex" if version is None else f"schema version {version}"
