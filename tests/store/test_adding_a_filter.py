"""What CONTRIBUTING says that a filter costs is all it costs: here one is added, and finds what was stored before.

It is added to a copy of the package, by the lines that a contributor would write, and tried on a data directory of the
first version.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import calldex
from tests.store import older

_SCHEMAS: Final = {
    "embedded/schema/ledger_{:04}_comment.sql": (
        "ALTER TABLE version ADD COLUMN comment TEXT NOT NULL DEFAULT '';\n"
        "INSERT INTO fill SELECT 'comment', 0, ifnull(max(seq), 0) FROM version;\n"
    ),
    "embedded/schema/columns_{:04}_comment.sql": (
        "ALTER TABLE kept.cdr ADD COLUMN comment VARCHAR NOT NULL DEFAULT '';\n"
        "INSERT INTO kept.fill VALUES ('comment', 0);\n"
    ),
}
"""The files of the embedded store; those of ClickHouse are two more."""
_SEARCH: Final = """
import sys, time
from pathlib import Path
from calldex.access import Scope
from calldex.errors import StoreNotReady
from calldex.search.query import parse
from calldex.store.embedded import EmbeddedStore

store = EmbeddedStore(
    Path(sys.argv[1]), memory_mb=128, index_mb=16, threads=1, timeout_s=30, superseded_kept_s=9 * 86400
)
found = {}
for name, text in (("comments", "gr\\u00fc\\u00dfe,none"), ("comments_not", "gr\\u00fc\\u00dfe"), ("type", "inbound")):
    query = parse([(name, text)], Scope(account_id=1, whole=True), "UTC")[0]
    deadline = time.monotonic() + 60
    while True:
        try:
            found[name] = store.total(query, store.head(1))
            break
        except StoreNotReady:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
store.close()
print(found["comments"], found["comments_not"])
"""


def _with(path: Path, before: str, added: str) -> None:
    """Put some lines before others into a file."""
    text = path.read_text()
    assert 1 == text.count(before), before
    path.write_text(text.replace(before, f"{added}{before}"))


def test_a_filter_is_two_rows_a_name_and_a_file_for_each_schema(tmp_path: Path) -> None:
    """A row of the column, a row of the filter, the column's name among those that digests cover, and the files: then
    it is a parameter, with its `_not` form, and is true of all that was stored before."""
    package, data = tmp_path / "src" / "calldex", tmp_path / "data"
    shutil.copytree(Path(calldex.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    data.mkdir()
    older.unpack(data)
    fields = package / "records" / "fields.py"
    _with(fields, ")\nCOLUMN: Final", '    Column("comment", Kind.WORD, "comment"),\n')
    _with(
        fields,
        '    Filter(\n        name="uuid",',
        '    Filter(name="comments", op=Op.ANY_TEXT, column="comment", description="Its comment.", example="x"),\n',
    )
    _with(package / "store" / "embedded" / "chain.py", ')\n"""The values that digests are over', '    "comment",\n')
    for name, text in _SCHEMAS.items():
        kind = name.partition("_")[0]
        number = len(list((package / "store").glob(f"{kind}_*.sql"))) + 1
        (package / "store" / name.format(number)).write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    ran = subprocess.run(
        [sys.executable, "-c", _SEARCH, str(data)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
        timeout=200,
    )
    assert 0 == ran.returncode, ran.stderr
    live = len(older.live(data)[1])
    assert f"{live} 0" == ran.stdout.strip().splitlines()[-1]
