"""Stores as version 1 of the schemas left them: records of two accounts, changed, erased, tagged and flagged.

The embedded one is a copy of what the Calldex of that schema wrote. On ClickHouse it is made by the first migration,
and written with the columns of that time.
"""

from __future__ import annotations

import tarfile
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw
import msgspec

from calldex.directory import Directory
from calldex.records.record import Cdr
from calldex.store.clickhouse.client import Hosts
from calldex.store.clickhouse.schema import CDR_TYPES, PLAIN, UUID_TYPES, steps
from calldex.store.clickhouse.writing import loaded_places, loaded_versions
from calldex.store.embedded import LEDGER_FILE
from calldex.store.embedded.packing import Packing
from calldex.store.embedded.reader import LedgerReader
from calldex.store.sql import LIVE, Sql
from tests.engines import chdb_database, embedded

_KEPT: Final = Path(__file__).parents[1] / "fixtures" / "stores" / "version-1.tar.xz"
_FIRST_COLUMNS: Final = (
    *("account_id", "started_ms", "uuid", "seq", "seq_to", "content", "type", "disposition", "end_reason", "agent_id"),
    *("queue_id", "campaign_id", "team_ids", "wrapup_code", "events", "duration_s", "caller", "callee"),
    *("written_ms", "ended_ms", "json"),
)
ACCOUNTS: Final = (1, 2)


def unpack(data: Path) -> None:
    """Put the embedded store of version 1 into a folder."""
    with tarfile.open(_KEPT) as kept:
        kept.extractall(data, filter="data")


def live(data: Path) -> dict[int, list[Cdr]]:
    """The live records of each account, as the ledger of a folder keeps them."""
    records: dict[int, list[Cdr]] = {account_id: [] for account_id in ACCOUNTS}
    with closing(apsw.Connection(str(data / LEDGER_FILE), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        packing = Packing(reader)
        kept = reader.execute(f"SELECT account_id, CAST(json AS BLOB) FROM version WHERE seq_to = {LIVE}")
        for account_id, json in kept:
            records[account_id].append(msgspec.json.decode(packing.plain(json) or b"", type=Cdr))
    return records


def make_clickhouse(data: Path, scratch: Path) -> None:
    """Make the tables of version 1 in the chDB database that belongs to a folder, with the same records."""
    unpack(scratch)
    embedded(scratch).close()  # so that it is of the version that can be read from end to end
    with (
        closing(LedgerReader(scratch / LEDGER_FILE)) as ledger,
        closing(Hosts(chdb_database(data), 20)) as hosts,
        closing(Directory.open(data / "directory.db")) as directory,
    ):
        hosts.open()
        for step in steps(PLAIN[0]):
            hosts.command(Sql(step.statement))
        places = [CDR_TYPES[name] for name in _FIRST_COLUMNS]
        names = list(CDR_TYPES)
        for account_id, count in ledger.accounts().items():
            (versions,) = ledger.versions(account_id, 0, count)
            columns = loaded_versions(account_id, versions)
            old = [columns[names.index(name)] for name in _FIRST_COLUMNS]
            hosts.insert("cdr", dict(zip(_FIRST_COLUMNS, places, strict=True)), old, f"old-{account_id}")
            hosts.insert("cdr_uuid", UUID_TYPES, loaded_places(account_id, versions), f"old-{account_id}")
            alive = sum(version.seq_to is None and version.json is not None for version in versions)
            directory.commits().load(account_id, versions[-1].seq)
            directory.commits().load(account_id, versions[-1].seq, alive)
