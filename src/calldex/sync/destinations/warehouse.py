"""Warehouses, through dlt: PostgreSQL, DuckDB, and by `kind = "dlt"` whatever else dlt knows.

One load of dlt brings the rows and the place of the pipe. dlt merges each table by itself, so the place may be there
before the rows are; but only a load that came to its end stands in `_dlt_loads`, and only a place of such a load
counts. What a load brought that did not come to its end is brought again, and merged to the same.

dlt's own state is not used: its working folder is a new one for each process, so that nothing is resumed that is not in
the destination.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from calldex.exports.columns import Kind
from calldex.sync.beside import beside
from calldex.sync.destinations import Batch, Change, Context, Copy, DestinationProblem, Failed, lookup_key
from calldex.sync.destinations.needs import needed
from calldex.sync.workfolder import WorkFolder

_SECTIONS: Final = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "CRITICAL",
    # What lies in the working folder for a second is not worth a third of a load's processor time.
    "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
}
_ROWS: Final = 50_000
_ASKED: Final = 500
"""So many rows are asked for by name at once."""
_TYPES: Final = {
    Kind.TEXT: "text",
    Kind.WHOLE: "bigint",
    Kind.LENGTH: "bigint",
    Kind.DECIMAL: "double",
    Kind.INSTANT: "timestamp",
    Kind.NESTED: "json",
}
_STATE: Final = "sync_state"
_CDRS: Final = "cdrs"
_VERSION: Final = "_dlt_version"
_EXAMPLE: Final = "postgresql://user:password@host:5432/database"


class Warehouse(Copy):
    """Tables in a database that dlt can load and be asked by SQL. Those of a kind say how it is reached."""

    file_format: str | None = None

    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        os.environ.update(_SECTIONS)
        self._dlt = needed("dlt")
        self._tables = needed("calldex.sync.destinations.tables")
        self._pa = needed("pyarrow")
        self._columns = self._tables.columns(context.fields)
        self._folder = WorkFolder()
        self._made: Any = None
        self._client: Any = None
        self._number: int | None = None
        self._indexed = False

    def destination(self) -> Any:
        """dlt's destination."""
        raise NotImplementedError

    def index(self, client: Any, table: str) -> None:
        """Make what finds rows by their key and their begin, where a database needs to be told."""

    def close(self) -> None:
        """Let go of the connection and the folder."""
        self._disconnect()
        self._made = None
        self._folder.close()

    def check(self) -> None:
        """Connect, and ask for what there is."""
        with self._asked() as client:
            client.execute_sql("SELECT 1")

    def state(self) -> str:
        """See `Copy`."""
        found = self._query(
            "SELECT s.state, s.number FROM {state} s JOIN {loads} l ON l.load_id = s._dlt_load_id"
            " WHERE s.pipe = %s AND l.status = 0 ORDER BY s.number DESC LIMIT 1",
            self.context.pipe,
        )
        self._number = found[0][1] if found else 0
        return str(found[0][0]) if found else ""

    def apply(self, batch: Batch) -> Sequence[Failed]:
        """Load a batch, with its place."""
        parts = []
        if batch.changes:
            parts.append(self._rows(batch))
        if batch.state:
            if self._number is None:
                self.state()
            row = {"pipe": self.context.pipe, "number": (self._number or 0) + 1, "state": batch.state}
            parts.append(self._dlt.resource([row], name=_STATE, write_disposition="append", columns=_STATE_COLUMNS))
        if parts:
            self._load(parts)
        if batch.state:
            self._number = (self._number or 0) + 1
            sql = "DELETE FROM {state} WHERE pipe = %s AND number < %s"
            self._change(sql, self.context.pipe, self._number)
        return ()

    def lookup(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """See `Copy`."""
        key = lookup_key(name)
        sql = f"SELECT {key} FROM {{table}} WHERE account = %s"
        there = {row[0] for row in self._query(sql, self.context.account, table=name)}
        now = [{"account": self.context.account, **row, "deleted": False} for row in rows]
        gone = there - {row[key] for row in rows}
        now += [{"account": self.context.account, key: each, "deleted": True} for each in sorted(gone)]
        if now:
            hints = {"deleted": {"data_type": "bool", "hard_delete": True}}
            given = {"name": name, "primary_key": ("account", key), "columns": hints, "max_table_nesting": 0}
            self._load([self._dlt.resource(now, write_disposition=_MERGE, **given)])

    def held(self, start_ms: int | None = None, end_ms: int | None = None) -> Iterator[tuple[str, int, int]]:
        """See `Copy`."""
        sql, values = "SELECT uuid, seq, started_at FROM {cdrs} WHERE account = %s AND uuid > %s", []
        for sign, ms in ((">=", start_ms), ("<", end_ms)):
            if ms is not None:
                sql += f" AND started_at {sign} %s"
                values.append(datetime.fromtimestamp(ms / 1000, UTC))
        last = ""
        more = True
        while more:
            rows = self._query(f"{sql} ORDER BY uuid LIMIT {_ROWS}", self.context.account, last, *values)
            for uuid, seq, began in rows:
                yield uuid, seq, _ms(began)
                last = uuid
            more = len(rows) == _ROWS

    def table(self, changes: Sequence[Change]) -> Any:
        """See `Copy`."""
        return self.cleaned(self._tables.table(self.context.account, changes, self._columns))

    def rows(self, uuids: Sequence[str], start_ms: int, end_ms: int) -> Iterator[Mapping[str, Any]]:
        """See `Copy`."""
        for at in range(0, len(uuids), _ASKED):
            some = uuids[at : at + _ASKED]
            places = ", ".join(["%s"] * len(some))
            with self._asked() as client:
                sql = (
                    f"SELECT * FROM {client.make_qualified_table_name(_CDRS)} WHERE account = %s AND uuid IN ({places})"
                )
                with client.execute_query(sql, self.context.account, *some) as cursor:
                    names = [column[0] for column in cursor.description]
                    found = cursor.fetchall()
            yield from (dict(zip(names, row, strict=True)) for row in found)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _rows(self, batch: Batch) -> Any:
        pa = self._pa
        made = self.table(batch.changes)
        made = made.append_column("deleted", pa.array([False] * len(made), pa.bool_()))
        gone = [change for change in batch.changes if change.json is None]
        account, uuids = [self.context.account] * len(gone), [change.uuid for change in gone]
        deleted = {"account": account, "uuid": uuids, "seq": [each.seq for each in gone], "deleted": [True] * len(gone)}
        nothing = {name: pa.nulls(len(gone), made.schema.field(name).type) for name in made.column_names}
        made = pa.concat_tables([made, pa.table({**nothing, **deleted}, schema=made.schema)])
        hints: dict[str, Any] = {column.name: {"data_type": _TYPES[column.kind]} for column in self._columns}
        hints |= {"other": {"data_type": "json"}, "deleted": {"data_type": "bool", "hard_delete": True}}
        given = {"name": _CDRS, "primary_key": self._tables.KEY, "columns": hints}
        return self._dlt.resource([made], write_disposition=_MERGE, **given)

    def cleaned(self, made: Any) -> Any:
        """The rows without what the database cannot hold."""
        return made

    def _load(self, parts: list[Any]) -> None:
        # dlt leaves exceptions with the frames of all its callers in cycles, which are collected late: batch upon batch
        # would wait for that. In a thread of its own no caller is ours, and a list that is emptied keeps no rows.
        run = self._pipeline().run
        with _as_problems():
            try:
                beside(partial(run, parts, schema=self._schema, loader_file_format=self.file_format))()
            except Exception:
                with suppress(DestinationProblem):
                    self._doubt()
                raise
            finally:
                parts.clear()
        if not self._indexed:
            with self._asked() as client:
                if self._there(client, _CDRS):
                    self.index(client, client.make_qualified_table_name(_CDRS))
                    self._indexed = True

    def _doubt(self) -> None:
        """Somebody may have dropped what dlt noted: it looks the next time. No place counts without records."""
        with self._asked() as client:
            for table, gone in ((_VERSION, True), (_STATE, not self._there(client, _CDRS))):
                if gone and self._there(client, table):
                    with client.begin_transaction():
                        client.execute_sql(f"DELETE FROM {client.make_qualified_table_name(table)}")

    def _pipeline(self) -> Any:
        if self._made is None:
            given: dict[str, Any] = {"dataset_name": self.options.schema, "pipelines_dir": str(self._folder.path)}
            self._schema = self._dlt.Schema("calldex")
            self._made = self._dlt.pipeline(f"calldex_{self.context.pipe}", destination=self.destination(), **given)
        return self._made

    @contextmanager
    def _asked(self) -> Iterator[Any]:
        """A connection that is kept, since there is much to ask; one that failed is opened anew the next time."""
        from dlt.destinations.exceptions import DatabaseUndefinedRelation

        with _as_problems():
            if self._client is None:
                client = self._pipeline().sql_client()
                client.open_connection()
                self._client = client
            try:
                yield self._client
            except DatabaseUndefinedRelation:
                raise
            except BaseException:
                self._disconnect()
                raise

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close_connection()

    @staticmethod
    def _there(client: Any, table: str) -> bool:
        from dlt.destinations.exceptions import DatabaseUndefinedRelation

        try:
            client.execute_sql(f"SELECT 1 FROM {client.make_qualified_table_name(table)} WHERE 1 = 0")
        except DatabaseUndefinedRelation:
            return False
        return True

    def _query(self, sql: str, *values: Any, table: str = "") -> list[tuple[Any, ...]]:
        from dlt.destinations.exceptions import DatabaseUndefinedRelation

        with self._asked() as client:
            try:
                return list(client.execute_sql(sql.format(**_named(client, table)), *values) or ())
            except DatabaseUndefinedRelation:
                return []

    def _change(self, sql: str, *values: Any) -> None:
        with self._asked() as client, client.begin_transaction():
            client.execute_sql(sql.format(**_named(client, "")), *values)


class Postgres(Warehouse):
    """PostgreSQL 15 or newer."""

    file_format = "csv"

    class Options(msgspec.Struct, frozen=True, kw_only=True):
        """The address of a database, and the schema of the tables."""

        url: str
        schema: str = "calls"

    def destination(self) -> Any:
        """See `Warehouse`."""
        parts = urlsplit(self.options.url)
        if parts.scheme not in ("postgres", "postgresql") or not parts.hostname or not parts.path.strip("/"):
            raise DestinationProblem(f"url: is not the address of a PostgreSQL database; valid: {_EXAMPLE}")
        from urllib.parse import parse_qsl, unquote

        given = {
            "host": parts.hostname,
            "port": parts.port or 5432,
            "database": unquote(parts.path.strip("/")),
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or "") or "-",  # dlt wants one, also where the server does not
            "query": dict(parse_qsl(parts.query)),
        }
        return self._dlt.destinations.postgres(credentials=given)

    def index(self, client: Any, table: str) -> None:
        """Two indexes."""
        client.execute_sql(f'CREATE UNIQUE INDEX IF NOT EXISTS "calldex_key" ON {table} (account, uuid)')
        client.execute_sql(f'CREATE INDEX IF NOT EXISTS "calldex_begin" ON {table} (account, started_at)')

    def cleaned(self, made: Any) -> Any:
        """No text of PostgreSQL has U+0000: U+FFFD stands for it."""
        import pyarrow.compute as pc

        for at, field in enumerate(made.schema):
            if self._pa.types.is_string(field.type):
                for nul, instead in (("\0", "\ufffd"), ("\\u0000", "\\ufffd")):
                    if pc.any(pc.match_substring(made.column(at), nul)).as_py():
                        made = made.set_column(at, field, pc.replace_substring(made.column(at), nul, instead))
        return made


class Duckdb(Warehouse):
    """A DuckDB file."""

    file_format = "parquet"

    class Options(msgspec.Struct, frozen=True, kw_only=True):
        """The file, and the schema of the tables."""

        path: str
        schema: str = "calls"

    def destination(self) -> Any:
        """See `Warehouse`."""
        if Path(self.options.path).stem == self.options.schema:
            raise DestinationProblem(
                "path: DuckDB cannot tell a file from a schema of the same name; rename one of both"
            )
        return self._dlt.destinations.duckdb(credentials=self.options.path)


class Dlt(Warehouse):
    """Another destination of dlt's that speaks SQL, with its settings as dlt names them."""

    class Options(msgspec.Struct, frozen=True, kw_only=True):
        """dlt's name of it, its credentials (an address, or a table), other settings, and the schema of the tables."""

        destination: str
        credentials: str | dict[str, Any]
        settings: dict[str, Any] = {}
        schema: str = "calls"

    def destination(self) -> Any:
        """See `Warehouse`."""
        made: Callable[..., Any] | None = getattr(self._dlt.destinations, self.options.destination, None)
        if made is None:
            raise DestinationProblem(f"destination: dlt has none that is called {self.options.destination}")
        return made(credentials=self.options.credentials, **self.options.settings)


_MERGE: Final = {"disposition": "merge", "strategy": "delete-insert"}
_STATE_COLUMNS: Final = {
    "pipe": {"data_type": "text"},
    "number": {"data_type": "bigint"},
    "state": {"data_type": "text"},
}


def _named(client: Any, table: str) -> dict[str, str]:
    names = {"cdrs": _CDRS, "state": _STATE, "loads": "_dlt_loads"} | ({"table": table} if table else {})
    return {name: client.make_qualified_table_name(of) for name, of in names.items()}


def _ms(at: Any) -> int:
    if at is None:
        return 0
    found: datetime = at if at.tzinfo else at.replace(tzinfo=UTC)
    return round(found.timestamp() * 1000)


@contextmanager
def _as_problems() -> Iterator[None]:
    """What dlt, a driver below it or the disk raises, as a problem of the destination, in one line and without an
    address. What is no other's is a fault of ours, and stays what it is."""
    try:
        yield
    except Exception as error:
        owner = type(error).__module__.partition(".")[0]
        if owner in ("builtins", "calldex") and not isinstance(error, OSError):
            raise
        cause: BaseException = error
        while (inner := cause.__cause__ or getattr(cause, "exception", None)) is not None and inner is not cause:
            cause = inner
        words = " ".join(str(cause).split())
        raise DestinationProblem(f"{type(cause).__name__}: {words[:500]}") from error
