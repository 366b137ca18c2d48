"""The stored schemas: numbered, literal files, of which the newest fits the table of fields."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Final

import apsw
import duckdb
import pytest

from calldex.store.clickhouse.schema import CLUSTER, PLAIN, steps
from calldex.store.embedded.chain import COVERED
from calldex.store.embedded.dialect import DUCKDB, SQLITE
from calldex.store.embedded.ledger import Ledger
from calldex.store.embedded.schema import COLUMNS, LEDGER
from calldex.store.embedded.versions import ROW_NAMES
from calldex.store.migrations import Migration, numbered
from calldex.store.sql import VALUE_NAMES, layout

SCHEMAS: Final[Mapping[str, tuple[Migration, ...]]] = {
    "ledger": LEDGER,
    "columns": COLUMNS,
    "plain": PLAIN,
    "cluster": CLUSTER,
}
FROZEN: Final = {
    "cluster_0001_versions": "29b1ce79e481242605d0f03ba8853211353e2e2c45d90619d1f1761dbea937bb",
    "cluster_0002_tags": "941b27567edd9c479e54a9f43218911f3f07ace1ee51aacffef796639646851b",
    "cluster_0003_statistics": "65b10d53d8297e66fb65dbba423d7f278a18883ea7cc2e35a252f0cb38e4674e",
    "cluster_0004_queues": "d079532827504ebe3abe04d867c70af838092f663d252454c4fc489a1b9fdc31",
    "columns_0001_versions": "d4d3774b97aa8ae1d53c3bac9ebc1981f303afe26e055c475ea101e41292b9ce",
    "columns_0002_tags": "9730188c79255d4671da22c5bb2ca89bd5fa887afff68b0feda1d1d0a53bc78b",
    "columns_0003_statistics": "241c58191971855b6a930544cd6896248bd151107ffffcb0bef4222c1ed70192",
    "columns_0004_numbering": "33caa39485b895cf5beb068d6ce808a8cdc9a7a8e192d6692cbbcaf5d9afff80",
    "columns_0005_queues": "f9e2a3376bcb5785ae4fb90b7c23aa44a85858c16aaa93807a8407d8a9f9cfaa",
    "ledger_0001_versions": "73f201a94d368e10ec399c5588be0def92373dbe8fa8733bd37cb12be2fd24ba",
    "ledger_0002_links": "f16fa328e16c99a8171406b4719775ae8893e96ca6e4483e64729637ad44b9a4",
    "ledger_0003_tags": "0bf445cb9534376c473cd2a7f5e1a3ef3939359bc288aedbe6587260d3fe0c52",
    "ledger_0004_statistics": "be42f667e06b40f3214fea3808433171d5bb2a37378742aca0b7bd95f1f05382",
    "ledger_0005_numbering": "f5e23b3ea2f818db2dea73bd71efb1db09b7ca1202b2bccbe3f410e8f0d983fb",
    "ledger_0006_queues": "23dc0b5d57537c74fc7b52d07f53b3ec732ba8f261de9a7555c6767cdeed008f",
    "ledger_0007_packed": "6cc00f2800067cd442153a350ad3b3c8eaa84d9d19ea0f6c251069bb577026d2",
    "plain_0001_versions": "aab3e28872648391d200c33d41550d8b74ead31ca5d107fda7a2060ba70c4135",
    "plain_0002_tags": "035e24fea25faae4c437fac306f4dbaa2041fa816882d50db496514702ca907e",
    "plain_0003_statistics": "188deaafcabd4e930ffe86bbed773dbd6cf1796129775bd10e438b76da614ca6",
    "plain_0004_queues": "9679a2d38887b1f239f6a11358bc7ec340b5e9bbd792738c06d04a664d704edb",
}
"""The SHA-256 of every migration. What has been released never changes; a new file adds a line."""
DICTIONARY: Final = "7374633329232f13c32820ab0c89138a9b9b46ee0c2e4ff929d3a25e671809ea"
FIRST_COVERED: Final = (
    *("started_ms", "type", "disposition", "end_reason", "agent_id", "queue_id", "campaign_id", "team_ids"),
    *("wrapup_code", "events", "duration_s", "caller", "caller_key", "callee", "callee_key"),
)
"""What digests were over at first, in this order."""


def test_no_migration_ever_changes() -> None:
    """Each is what it was when it was added: somebody's data were made by it."""
    found = {each.name: hashlib.sha256(each.text.encode()).hexdigest() for known in SCHEMAS.values() for each in known}
    assert FROZEN == found


def test_the_dictionary_never_changes() -> None:
    """What ledgers were given, they hold; another one is another file."""
    content = resources.files("calldex.store.embedded.schema").joinpath("dictionary_0001.zstd").read_bytes()
    assert DICTIONARY == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("numbers", [[], [2], [1, 3], [1, 1], [1, 2, 2]])
def test_migrations_are_numbered_without_a_gap(numbers: list[int]) -> None:
    """A missing number, or one that two have, is refused."""
    with pytest.raises(ValueError, match="without a gap"):
        numbered("ledger", [Migration(number, f"ledger_{number:04}_x", "") for number in numbers])


def test_the_ledger_fits_the_table(tmp_path: Path) -> None:
    """Versions have a column for each that the table of fields asks for, of its type, besides their own."""
    with closing(Ledger(tmp_path / "ledger.db")) as ledger, closing(apsw.Connection(str(ledger.path))) as reader:
        found = {name: type_ for _, name, type_, *_ in reader.execute("PRAGMA table_info(version)")}
        assert [(len(LEDGER),)] == list(reader.execute("PRAGMA user_version"))
    assert set(found) == {*ROW_NAMES, "written_ms", "json"} - {"number"}
    assert {column.name: column.type for column in layout(SQLITE)}.items() <= found.items()


def test_digests_are_over_every_value() -> None:
    """What the ledger keeps of a version beside its JSON is covered by its digest; a new column is one more, at the
    end."""
    assert set(VALUE_NAMES) == set(COVERED)
    assert COVERED[:15] == FIRST_COVERED


def test_the_columns_fit_the_table() -> None:
    """So have the columns, and in their order, as a row of the ledger has them."""
    with closing(duckdb.connect(":memory:")) as connection:
        connection.execute("ATTACH ':memory:' AS kept")
        for migration in COLUMNS:
            connection.execute(migration.text)
        found = dict(
            connection.execute(
                "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'cdr' ORDER BY column_index"
            ).fetchall()
        )
    assert set(found) == {*ROW_NAMES, "party"}
    assert {column.name: column.type.partition(" ")[0] for column in layout(DUCKDB)}.items() <= found.items()


def test_every_step_of_clickhouse_says_whether_it_blocks() -> None:
    """No statement stands without it; nothing of a file is left out; a cluster has every step of one node, for its
    local tables and, where readers see it, for those over them."""
    for migration in (*PLAIN, *CLUSTER):
        bare = "".join(line for line in migration.text.splitlines(keepends=True) if not line.startswith("--"))
        said = steps(migration, "main")
        assert re.sub(r"\s", "", bare.replace("$cluster", "main")) == re.sub(
            r"\s", "", "".join(f"{step.statement};" for step in said)
        )
        assert all(re.match(r"(yes|no)\b", step.blocks) for step in said)
    assert [each.number for each in PLAIN] == [each.number for each in CLUSTER]
