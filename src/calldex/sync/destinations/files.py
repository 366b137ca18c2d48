"""Files in a folder or a bucket: Parquet, or a Delta Lake table.

dlt merges into no Parquet, and knows no commit that has rows and place of a pipe together; so this goes to the
libraries below it (pyarrow, obstore, delta-rs). Parquet is a file for each account and UTC day, replaced as a whole:
whoever reads meanwhile sees a day as it was or as it is. Delta has one table, whose commits carry the place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit

import msgspec

from calldex.sync.destinations import Batch, Change, Context, Copy, DestinationProblem, Failed, lookup_key
from calldex.sync.destinations.needs import needed

_CDRS: Final = "cdrs"
_STATE: Final = "calldex_sync_state"
_HELD: Final = ("uuid", "seq", "started_at")
_DAY: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.parquet")
_EPOCH: Final = date(1970, 1, 1)
_DAY_MS: Final = 86_400_000
_NEWEST: Final = 8
"""So many commits are looked at first for a place: each is a request to a bucket, and a year has millions."""
_SAFE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A folder, or `s3://bucket/prefix`, and which files. Of a bucket: where it is, and the keys to it."""

    path: str
    format: Literal["parquet", "delta"] = "parquet"
    endpoint: str = ""
    region: str = "us-east-1"
    access_key_id: str = ""
    secret_access_key: str = ""


class _Table(Protocol):
    """Where the records are."""

    def state(self) -> str: ...

    def apply(self, rows: Any, gone: Sequence[str], state: str) -> None: ...

    def held(self, start_ms: int | None, end_ms: int | None) -> Iterator[tuple[str, int, int]]: ...

    def rows(self, uuids: Sequence[str], start_ms: int, end_ms: int) -> Iterator[Any]: ...


class Files(Copy):
    """See the module."""

    class Options(Given, frozen=True, kw_only=True):
        """See `Given`."""

    def __init__(self, options: Given, context: Context) -> None:
        super().__init__(options, context)
        needed("pyarrow")
        self._tables = needed("calldex.sync.destinations.tables")
        if not _SAFE.fullmatch(context.account):
            raise DestinationProblem("account: names a folder, so it has 1 to 64 letters, digits, `_` and `-`")
        self._columns = self._tables.columns(context.fields)
        self._store = _Store(options)
        made = _Parquet if options.format == "parquet" else _Delta
        self._table: _Table = made(self._store, options, context)

    def check(self) -> None:
        """List what there is, and write a file."""
        with _as_problems():
            self._store.write_bytes(f"_calldex/{self.context.pipe}.check", b"")

    def state(self) -> str:
        """See `Copy`."""
        with _as_problems():
            return self._table.state()

    def apply(self, batch: Batch) -> Sequence[Failed]:
        """See `Destination`."""
        gone = [change.uuid for change in batch.changes if change.json is None]
        with _as_problems():
            self._table.apply(self.table(batch.changes), gone, batch.state)
        return ()

    def lookup(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """A file for each account, in both formats."""
        import pyarrow as pa

        with _as_problems():
            made = pa.Table.from_pylist([{"account": self.context.account, **row} for row in rows])
            if not rows:  # a file without columns is one that not every program reads
                made = pa.table({"account": pa.array([], pa.string()), lookup_key(name): pa.array([], pa.string())})
            self._store.write(f"{name}/{self.context.account}.parquet", made)

    def held(self, start_ms: int | None = None, end_ms: int | None = None) -> Iterator[tuple[str, int, int]]:
        """See `Copy`."""
        with _as_problems():
            yield from self._table.held(start_ms, end_ms)

    def table(self, changes: Sequence[Change]) -> Any:
        """See `Copy`."""
        return self._tables.table(self.context.account, changes, self._columns)

    def rows(self, uuids: Sequence[str], start_ms: int, end_ms: int) -> Iterator[Mapping[str, Any]]:
        """See `Copy`."""
        with _as_problems():
            for found in self._table.rows(uuids, start_ms, end_ms):
                yield from found.to_pylist()


class _Store:
    """A folder or a bucket, by paths below it. A file is there as a whole, or as it was."""

    def __init__(self, options: Given) -> None:
        from obstore.store import LocalStore, S3Store

        parts = urlsplit(options.path)
        if parts.scheme == "s3":
            given = {"region": options.region, "endpoint": options.endpoint}
            given |= {"access_key_id": options.access_key_id, "secret_access_key": options.secret_access_key}
            self._files: Any = S3Store(
                parts.netloc,
                prefix=parts.path.strip("/") or None,
                client_options={"allow_http": options.endpoint.startswith("http:")},
                **{name: value for name, value in given.items() if value},  # type: ignore[arg-type]  # all are texts
            )
        else:
            self._files = LocalStore(prefix=Path(options.path).absolute(), mkdir=True)

    def read(self, path: str, columns: Sequence[str] | None = None) -> Any:
        """A file's rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        content = pa.py_buffer(self._files.get(path).bytes())
        return pq.ParquetFile(pa.BufferReader(content)).read(columns=None if columns is None else list(columns))

    def write(self, path: str, rows: Any) -> None:
        """Replace a file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        made = pa.BufferOutputStream()
        pq.write_table(rows, made, compression="zstd")
        self.write_bytes(path, made.getvalue().to_pybytes())

    def write_bytes(self, path: str, content: bytes) -> None:
        """The same of any content."""
        self._files.put(path, content)

    def read_bytes(self, path: str) -> bytes | None:
        """A file's content; None if there is none."""
        try:
            return bytes(self._files.get(path).bytes())
        except FileNotFoundError:
            return None

    def delete(self, path: str) -> None:
        """Delete a file."""
        self._files.delete(path)

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder."""
        return [found["path"].rpartition("/")[2] for part in self._files.list(folder) for found in part]


class _Parquet:
    """A file for each day. The uuids of each are kept in memory, some 40 bytes each, since a deletion names no day."""

    def __init__(self, store: _Store, _options: Given, context: Context) -> None:
        self._store = store
        self._folder = f"{_CDRS}/{context.account}"
        self._place = f"_calldex/{context.pipe}.json"
        self._uuids: dict[str, Any] | None = None

    def state(self) -> str:
        return (self._store.read_bytes(self._place) or b"").decode()

    def apply(self, rows: Any, gone: Sequence[str], state: str) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        changed = pa.concat_arrays([rows["uuid"].combine_chunks(), pa.array(gone, pa.string())])
        new, none = _by_day(rows), rows.schema.empty_table()
        del rows  # they are there by day
        known = self._known()
        # One look at all days together: what is looked for is made ready for it each time.
        found = pc.is_in(pa.chunked_array(known.values(), pa.string()), value_set=changed).combine_chunks()
        touched, start = set(), 0
        for day, uuids in known.items():
            if pc.any(found.slice(start, len(uuids))).as_py():
                touched.add(day)
            start += len(uuids)
        # Where rows come comes first: what moves to another day is for a moment in both files, and never in none.
        for day in [*new, *sorted(touched - new.keys())]:
            made = new.get(day, none)
            if day in known:
                there = self._store.read(f"{self._folder}/{day}.parquet")
                kept = there.filter(pc.invert(pc.is_in(there["uuid"], value_set=changed)))
                made = pa.concat_tables([made, kept], promote_options="default").sort_by("started_at")
            self._write(day, made)
        if state:
            self._store.write_bytes(self._place, state.encode())

    def _write(self, day: str, rows: Any) -> None:
        known = self._known()
        if len(rows):
            self._store.write(f"{self._folder}/{day}.parquet", rows)
            known[day] = rows["uuid"].combine_chunks()
        elif known.pop(day, None) is not None:
            self._store.delete(f"{self._folder}/{day}.parquet")

    def _known(self) -> dict[str, Any]:
        if self._uuids is None:
            self._uuids = {
                day: self._store.read(f"{self._folder}/{day}.parquet", ["uuid"])["uuid"].combine_chunks()
                for day in self._days()
            }
        return self._uuids

    def _days(self) -> list[str]:
        return sorted(found[1] for name in self._store.names(self._folder) if (found := _DAY.fullmatch(name)))

    def held(self, start_ms: int | None, end_ms: int | None) -> Iterator[tuple[str, int, int]]:
        low = "" if start_ms is None else str(_day(start_ms))
        high = "9999" if end_ms is None else str(_day(end_ms))
        for day in self._days():
            if low <= day <= high:
                yield from _rows(self._store.read(f"{self._folder}/{day}.parquet", _HELD), start_ms, end_ms)

    def rows(self, uuids: Sequence[str], start_ms: int, end_ms: int) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(uuids, pa.string())
        for day in self._days():
            if str(_day(start_ms)) <= day <= str(_day(end_ms)):
                there = self._store.read(f"{self._folder}/{day}.parquet")
                yield there.filter(pc.is_in(there["uuid"], value_set=wanted))


class _Delta:
    """A table of Delta Lake."""

    def __init__(self, store: _Store, options: Given, context: Context) -> None:
        self._delta = needed("deltalake")
        self._context = context
        self._address = f"{options.path.rstrip('/')}/{_CDRS}"
        self._given = _delta_options(options)
        self._key = f"{_STATE}_{context.pipe}"

    def _opened(self) -> Any:
        """The table; None if there is none yet."""
        # `is_deltatable` would stop all threads of the process while it waits for a bucket.
        from deltalake.exceptions import TableNotFoundError

        try:
            return self._delta.DeltaTable(self._address, storage_options=self._given)
        except TableNotFoundError:
            return None

    def state(self) -> str:
        table = self._opened()
        most = _NEWEST
        while table is not None:
            commits = table.history(most)
            for commit in commits:
                if (found := commit.get(self._key)) is not None:
                    return str(found)
            if len(commits) < most:
                break
            most *= most
        return ""

    def apply(self, rows: Any, gone: Sequence[str], state: str) -> None:
        import pyarrow as pa

        properties = self._delta.CommitProperties(custom_metadata={self._key: state} if state else None)
        table = self._opened()
        if table is None or not (len(rows) or gone):
            given = {"mode": "append", "schema_mode": "merge", "storage_options": self._given}
            self._delta.write_deltalake(self._address, rows, commit_properties=properties, **given)
            return
        deleted = {name: pa.nulls(len(gone), rows.schema.field(name).type) for name in rows.column_names}
        deleted |= {"account": [self._context.account] * len(gone), "uuid": list(gone)}
        source = pa.concat_tables([rows, pa.table(deleted, schema=rows.schema)])
        source = source.append_column("deleted", pa.array([False] * len(rows) + [True] * len(gone), pa.bool_()))
        merged = table.merge(
            source,
            "t.account = s.account AND t.uuid = s.uuid",
            source_alias="s",
            target_alias="t",
            merge_schema=True,
            commit_properties=properties,
        )
        merged = merged.when_matched_delete("s.deleted = true").when_matched_update_all(except_cols=["deleted"])
        merged.when_not_matched_insert_all("s.deleted = false", except_cols=["deleted"]).execute()

    def held(self, start_ms: int | None, end_ms: int | None) -> Iterator[tuple[str, int, int]]:
        import pyarrow.dataset as ds

        table = self._opened()
        if table is not None:
            mine = ds.field("account") == self._context.account
            for batch in table.to_pyarrow_dataset().to_batches(columns=list(_HELD), filter=mine):
                yield from _rows(batch, start_ms, end_ms)

    def rows(self, uuids: Sequence[str], start_ms: int, end_ms: int) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.dataset as ds

        table = self._opened()
        if table is None:
            return
        begin, end = (pa.scalar(ms * 1000, pa.timestamp("us", tz="UTC")) for ms in (start_ms, end_ms))
        mine = ds.field("account") == self._context.account
        mine &= (ds.field("started_at") >= begin) & (ds.field("started_at") < end)
        wanted = pa.array(uuids, pa.string())
        for batch in table.to_pyarrow_dataset().to_batches(filter=mine):
            yield batch.filter(pc.is_in(pc.cast(batch["uuid"], pa.string()), value_set=wanted))


def _delta_options(options: Given) -> dict[str, str] | None:
    """How delta-rs is told of a bucket."""
    if urlsplit(options.path).scheme != "s3":
        return None
    given = {
        "AWS_REGION": options.region,
        "AWS_ACCESS_KEY_ID": options.access_key_id,
        "AWS_SECRET_ACCESS_KEY": options.secret_access_key,
        "AWS_ENDPOINT_URL": options.endpoint,
        "AWS_ALLOW_HTTP": "true" if options.endpoint.startswith("http:") else "",
        "conditional_put": "etag",
    }
    return {name: value for name, value in given.items() if value}


def _by_day(rows: Any) -> dict[str, Any]:
    """Rows by the UTC day of their begin, in its order; those without one with the first day there is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ordered = rows.sort_by("started_at").combine_chunks()
    days = pc.fill_null(pc.cast(ordered["started_at"], pa.date32()), _EPOCH)
    runs = pc.run_end_encode(days, run_end_type=pa.int64()).combine_chunks()
    found: dict[str, Any] = {}
    start = 0
    for day, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        part = ordered.slice(start, end - start)
        found[str(day)] = pa.concat_tables([found[str(day)], part]) if str(day) in found else part
        start = end
    return found


def _day(ms: int) -> date:
    return _EPOCH + timedelta(days=ms // _DAY_MS)


def _rows(batch: Any, start_ms: int | None, end_ms: int | None) -> Iterator[tuple[str, int, int]]:
    columns = (batch[name].to_pylist() for name in _HELD)
    for uuid, seq, began in zip(*columns, strict=True):
        ms = _ms(began)
        if (start_ms is None or ms >= start_ms) and (end_ms is None or ms < end_ms):
            yield uuid, seq, ms


def _ms(began: datetime | None) -> int:
    return 0 if began is None else round(began.astimezone(UTC).timestamp() * 1000)


@contextmanager
def _as_problems() -> Iterator[None]:
    """What the libraries raise, as a problem of the destination."""
    try:
        yield
    except OSError as error:  # delta-rs raises it as well
        raise DestinationProblem(f"{type(error).__name__}: {str(error)[:500]}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("deltalake", "pyarrow", "obstore", "_internal"):
            raise
        raise DestinationProblem(f"{type(error).__name__}: {str(error)[:500]}") from error
