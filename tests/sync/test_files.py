"""Pipes into Parquet and Delta Lake."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from obstore.store import S3Store

from calldex.client import Record
from calldex.sync.destinations import Batch, Change, Context
from calldex.sync.destinations.files import Files
from calldex.sync.destinations.tables import record
from tests.s3 import ACCESS_KEY, SECRET_KEY
from tests.sync.conftest import Rig, Source, changed, some, without_nulls

pytestmark = pytest.mark.slow


def read(folder: Path, form: str) -> dict[str, Record]:
    """The records that are in a folder, as another program reads them."""
    import duckdb

    if form == "delta":
        found = DeltaTable(str(folder / "cdrs")).to_pyarrow_table().to_pylist()
    else:
        with duckdb.connect() as connection:
            read = connection.execute(f"SELECT * FROM read_parquet('{folder}/cdrs/*/*.parquet', union_by_name = true)")
            names = [column[0] for column in read.description]
            found = [dict(zip(names, row, strict=True)) for row in read.fetchall()]
    made: dict[str, Any] = {row["uuid"]: record(row) for row in found}
    assert len(found) == len(made), "a record is there twice"
    return made


def altered(folder: Path, form: str) -> None:
    """Somebody changes a text of one record by hand."""
    if form == "delta":
        table = DeltaTable(str(folder / "cdrs"))
        uuid = table.to_pyarrow_table()["uuid"][0].as_py()
        table.update(updates={"comment": "'by hand'"}, predicate=f"uuid = '{uuid}'")
        return
    file = min((folder / "cdrs" / "main").iterdir())
    rows = pq.read_table(file)
    comments = ["by hand", *rows["comment"].to_pylist()[1:]]
    at = rows.column_names.index("comment")
    pq.write_table(rows.set_column(at, "comment", pa.array(comments, pa.string())), file)


@pytest.mark.parametrize("form", ["parquet", "delta"])
def test_files_follow(source: Source, tmp_path: Path, form: str) -> None:
    """They have what the source has, after late, corrected, moved and erased records; each process goes on where the
    last one was; what somebody broke is found and repaired."""
    target = tmp_path / "lake"
    destination = {"kind": "files", "path": str(target), "format": form}
    pipe = Rig(tmp_path, source.url, source.keys["admin"], destination)
    assert "" == pipe.run().problem
    assert without_nulls(source.records()) == read(target, form)
    late = some(20, seed=41)
    source.post(late)
    assert len(late) == pipe.run().changes
    moved = some(4, seed=42)
    source.post([changed(late[0], comment="corrected"), *(changed(each, uuid=late[1].uuid) for each in moved[:1])])
    source.delete([each.uuid for each in late[5:9]])
    assert 6 == pipe.run().changes
    assert without_nulls(source.records()) == read(target, form)
    assert 0 == pipe.run().changes
    assert 0 == pipe.run("verify", deep=True).repaired
    altered(target, form)
    assert 0 == pipe.run("verify").repaired
    assert 1 == pipe.run("verify", deep=True).repaired
    assert without_nulls(source.records()) == read(target, form)
    if form == "parquet":
        file = max((target / "cdrs" / "main").iterdir())
        file.unlink()
        assert 0 < (pipe.run("verify").repaired or 0)
        assert without_nulls(source.records()) == read(target, form)
    source.delete([each.uuid for each in late])
    assert {"agents", "queues"} <= {each.name for each in target.iterdir()}


@pytest.fixture
def bucket() -> Iterator[str]:
    """The address of an S3 server in a process of its own: delta-rs waits for one without letting Python go on."""
    script = "import sys; from tests.s3 import s3\nwith s3() as server: print(server.url, flush=True); sys.stdin.read()"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2], **pipes) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


@pytest.mark.parametrize("form", ["parquet", "delta"])
def test_a_bucket(source: Source, bucket: str, tmp_path: Path, form: str) -> None:
    """The same in a bucket, which is read back by its objects alone."""
    keys = {"access_key_id": ACCESS_KEY, "secret_access_key": "env:BUCKET_KEY", "endpoint": bucket}
    destination = {"kind": "files", "path": "s3://lake/calls", "format": form, **keys}
    pipe = Rig(tmp_path, source.url, source.keys["admin"], destination)
    pipe.environment["BUCKET_KEY"] = SECRET_KEY
    assert "" == pipe.run().problem
    late = some(5, seed=51)
    source.post(late)
    source.delete([late[0].uuid])
    assert "" == pipe.run().problem
    options: dict[str, Any] = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "endpoint": bucket}
    store = S3Store("lake", region="us-east-1", client_options={"allow_http": True}, **options)
    for path in [found["path"] for part in store.list() for found in part]:
        (file := tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(store.get(path).bytes())
    assert without_nulls(source.records()) == read(tmp_path / "calls", form)
    assert 0 == pipe.run("verify").repaired
    source.delete([each.uuid for each in late])


def test_a_look_up_without_rows(tmp_path: Path) -> None:
    """Is a file that others can read, and says that there are none."""
    import duckdb

    with (
        closing(Files(Files.Options(path=str(tmp_path)), Context("calls", "main", (), {}))) as lake,
        duckdb.connect() as db,
    ):
        for name in ("teams", "wrapup_codes"):
            lake.lookup(name, [])
            assert [] == db.execute(f"SELECT * FROM read_parquet('{tmp_path}/{name}/*.parquet')").fetchall()


def test_a_place_is_found_among_the_newest_commits(tmp_path: Path) -> None:
    """Old ones are not looked at, however many there are: that would be a request to the bucket for each. A place that
    is far behind, as of a pipe that had nothing new, is found all the same."""
    options = Files.Options(path=str(tmp_path), format="delta")
    with closing(Files(options, Context("calls", "main", (), {}))) as one:
        with closing(Files(options, Context("other", "other", (), {}))) as other:
            other.apply(Batch([Change.of("b", 1, {"uuid": "b", "started_at": "2026-11-01T08:00:00Z"})], "far behind"))
            for number in range(30):
                one.apply(Batch((), f"place {number}"))
            assert "far behind" == other.state()
        DeltaTable(str(tmp_path / "cdrs")).create_checkpoint()
        for number in range(10):
            (tmp_path / "cdrs" / "_delta_log" / f"{number:020}.json").write_text("unreadable")
        assert "place 29" == one.state()
