"""The cluster that tests run against answers the official client as ClickHouse does, and fails as it is told to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice, repeat
from random import Random
from typing import Any
from uuid import UUID

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from tests.clickhouse.cluster import DATABASE, USER, Cluster
from tests.clickhouse.front import READ_ONLY, TOO_MANY_PARTS, Fault, Moment
from tests.patience import patient

ROWS = 10_000
COLUMNS = ("id", "name", "uuid", "tags")


def connected(cluster: Cluster, host: int | None = 0, **other: Any) -> Client:
    """The official client, to a host or to the engine itself."""
    port = cluster.port if host is None else cluster.hosts[host].port
    given = {"username": USER, "password": cluster.password, "database": DATABASE, "compress": "lz4"}
    settled = {"autogenerate_session_id": False, "send_receive_timeout": 20}
    return clickhouse_connect.get_client(host="127.0.0.1", port=port, **(given | settled | other))


@pytest.fixture
def client(hosts: Cluster) -> Iterator[Client]:
    """A client of the first host."""
    with closing(connected(hosts)) as made:
        yield made


@pytest.fixture
def table(hosts: Cluster) -> Iterator[str]:
    """An empty table that knows the tokens of its last inserts."""
    columns = "id UInt64, name String, uuid UUID, tags Array(String)"
    kept = "SETTINGS non_replicated_deduplication_window = 100"
    hosts.execute(f"CREATE TABLE tried ({columns}) ENGINE = MergeTree ORDER BY id {kept}")
    yield "tried"
    hosts.execute("DROP TABLE tried")


def insert(client: Client, table: str, ids: range, token: str = "", names: Iterable[str] = repeat("é")) -> None:
    """Rows with these ids, by columns."""
    settings: dict[str, object] = {"async_insert": 0} | ({"insert_deduplication_token": token} if token else {})
    tags = [[str(n), "'\\\t\n"] for n in ids]
    columns: list[list[Any]] = [list(ids), list(islice(names, len(ids))), [UUID(int=n) for n in ids], tags]
    client.insert(table, columns, column_names=COLUMNS, column_oriented=True, settings=settings)


def count(cluster: Cluster, table: str) -> int:
    """How many rows the engine itself has."""
    (row,) = cluster.execute(f"SELECT toUInt32(count()) AS n FROM {table}")
    return int(row["n"])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Int64", -(2**63)),
        ("UInt64", 2**64 - 1),
        ("String", 'Zoë\'s \\ "quoted"\ttext\nand `more` {x:Int8}'),
        ("String", ""),
        ("UUID", UUID("01234567-89ab-cdef-0123-456789abcdef")),
        ("Bool", True),
        ("Bool", False),
        ("Array(Int64)", [1, -2, 3]),
        ("Array(Int64)", []),
        ("Array(Int64)", list(range(5_000))),
        ("Array(UUID)", [UUID(int=1), UUID(int=2)]),
        ("Array(String)", ["a'b", "c\\d", "", "\t\n", "é"]),
    ],
)
def test_parameters_arrive(client: Client, kind: str, value: object) -> None:
    """A value bound to a query comes back as it was, whether it travels in the address or in a form."""
    answer = client.query(f"SELECT {{given:{kind}}} AS got, toTypeName(got)", parameters={"given": value})
    assert [(value, kind)] == answer.result_rows


def test_what_is_inserted_can_be_read(client: Client, table: str) -> None:
    """Columns that were inserted are read in ClickHouse's own format and as text."""
    insert(client, table, range(3))
    rows = [(n, "é", UUID(int=n), [str(n), "'\\\t\n"]) for n in range(3)]
    assert rows == client.query(f"SELECT * FROM {table} ORDER BY id").result_rows
    assert b'{"id":2}\n' == client.raw_query(f"SELECT id::UInt32 AS id FROM {table} WHERE id = 2", fmt="JSONEachRow")
    assert [] == client.query(f"SELECT id FROM {table} WHERE id = 3").result_rows


def test_a_token_inserts_once(client: Client, hosts: Cluster, table: str) -> None:
    """A block under a token that came before is taken and not kept again."""
    for token in ("one", "one", "other"):
        insert(client, table, range(5), token)
    assert 10 == count(hosts, table)


def test_settings_end_with_their_request(client: Client, table: str) -> None:
    """A setting of one request is none of the next one, nor of another connection."""
    asked = "SELECT getSetting('max_threads')"
    assert [(1,)] == client.query(asked, settings={"max_threads": 1}).result_rows
    assert [(1,)] != client.query(asked).result_rows


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
def test_large_inserts_and_replies(hosts: Cluster, table: str, compress: str | bool) -> None:
    """Ten thousand rows of 1 KiB go in as one part and come out, compressed in each way the client knows, or not."""
    names = [Random(n).randbytes(512).hex() for n in range(ROWS)]
    with closing(connected(hosts, compress=compress)) as client:
        insert(client, table, range(ROWS), names=names)
        assert [names] == client.query(f"SELECT name FROM {table} ORDER BY id", column_oriented=True).result_columns
    assert [{"rows": ROWS}] == hosts.execute(f"SELECT rows FROM system.parts WHERE table = '{table}' AND active")


def test_eight_at_once(hosts: Cluster, table: str) -> None:
    """Eight threads write and read at the same time, through all hosts."""

    def work(worker: int) -> None:
        with closing(connected(hosts, worker % 3)) as client:
            for turn in range(5):
                first = 1_000 * worker + 100 * turn
                insert(client, table, range(first, first + 100))
                asked = f"SELECT count() FROM {table} WHERE intDiv(id, 1000) = {{worker:UInt64}}"
                assert [(100 * turn + 100,)] == client.query(asked, parameters={"worker": worker}).result_rows

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert 4_000 == count(hosts, table)


def test_queries_run_side_by_side(hosts: Cluster) -> None:
    """Eight queries of two seconds take less than eight, so they do not wait for each other."""

    def ask(_: int) -> None:
        with closing(connected(hosts, None)) as client:
            client.query("SELECT sleep(2)")

    begun = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert time.monotonic() - begun < min(patient(8), 15)


@pytest.mark.parametrize(
    ("sql", "code", "name"),
    [
        ("SELECT * FROM missing", 60, "UNKNOWN_TABLE"),
        ("SELEKT 1", 62, "SYNTAX_ERROR"),
        ("SELECT throwIf(1)", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT {missing:Int64}", 456, "UNKNOWN_QUERY_PARAMETER"),
    ],
)
def test_errors_have_codes(client: Client, sql: str, code: int, name: str) -> None:
    """What the engine refuses arrives with its code and its name."""
    with pytest.raises(DatabaseError) as refused:
        client.query(sql)
    assert (code, name) == (refused.value.code, refused.value.name)


@pytest.mark.parametrize(
    ("other", "code"),
    [({"password": "wrong"}, 516), ({"username": "nobody"}, 516), ({"database": "missing"}, 81)],
)
def test_who_may_not_come_in(hosts: Cluster, other: dict[str, Any], code: int) -> None:
    """A wrong user or password, or a database that does not exist, is refused when the client connects."""
    with pytest.raises(DatabaseError) as refused:
        connected(hosts, **other)
    assert code == refused.value.code


def test_ping(hosts: Cluster) -> None:
    """A host that runs answers a ping; one that was killed or stopped does not, until it runs again."""
    with closing(connected(hosts, 1)) as client:
        hurt: list[Callable[[], None]] = [hosts.hosts[1].kill, hosts.hosts[1].stop]
        for hurts in hurt:
            assert client.ping(1)
            hurts()
            assert not client.ping(0.3)
            hosts.heal()
        assert client.ping(1)


@pytest.mark.parametrize(
    ("moment", "kept"), [("before", 0), ("after", 10), ("within", 10)], ids=["before", "after", "within"]
)
def test_a_cut_is_before_or_after_the_work(
    client: Client, hosts: Cluster, table: str, moment: Moment, kept: int
) -> None:
    """An insert whose connection breaks was done or was not, as the fault says; the client cannot know."""
    hosts.hosts[0].fail(Fault(action="cut", moment=moment, of=("insert",)))
    with pytest.raises(OperationalError):
        insert(client, table, range(10), "token")
    assert kept == count(hosts, table)


def test_a_host_dies_after_the_work(client: Client, hosts: Cluster, table: str) -> None:
    """A host that kills itself when an insert is done is dead, refuses the next connection, and has done its work."""
    hosts.hosts[0].fail(Fault(action="die", moment="after", of=("insert",)))
    for _ in range(2):
        with pytest.raises(OperationalError):
            insert(client, table, range(10))
    assert (10, True) == (count(hosts, table), hosts.hosts[0].program.ended())


@pytest.mark.parametrize("moment", ["before", "after", "within"])
def test_a_reply_that_breaks_is_no_answer(client: Client, hosts: Cluster, moment: Moment) -> None:
    """A query whose reply breaks raises, also when half of the rows have arrived."""
    hosts.hosts[0].fail(Fault(action="cut", moment=moment, of=("read",)))
    for rows in (1_000_000, 1):
        with pytest.raises(OperationalError):
            _ = client.query(f"SELECT number FROM numbers({rows})").result_rows  # it is read only now
        with pytest.raises(OperationalError):
            client.raw_query(f"SELECT number FROM numbers({rows})")
    assert hosts.hosts[0].fail() >= 4
    assert [(1,)] == client.query("SELECT 1").result_rows


@pytest.mark.parametrize(("fault", "code"), [(READ_ONLY, 242), (TOO_MANY_PARTS, 252)])
def test_a_host_refuses_writes(client: Client, hosts: Cluster, table: str, fault: Fault, code: int) -> None:
    """A host that is told to refuse writes does so with ClickHouse's code, and still reads."""
    hosts.hosts[0].fail(fault)
    with pytest.raises(DatabaseError) as refused:
        insert(client, table, range(10))
    assert (code, 0) == (refused.value.code, count(hosts, table))
    assert [(1,)] == client.query("SELECT 1").result_rows


def test_a_host_answers_500(client: Client, hosts: Cluster) -> None:
    """A host can be told to answer reads with a status and nothing else that ClickHouse would say."""
    hosts.hosts[0].fail(Fault(action="answer", of=("read",), times=1))
    with pytest.raises(DatabaseError) as refused:
        client.query("SELECT 1")
    assert refused.value.code is None
    assert [(1,)] == client.query("SELECT 1").result_rows


@pytest.mark.parametrize(("moment", "kept"), [("before", 0), ("after", 10)])
def test_a_host_stops_in_the_middle(hosts: Cluster, table: str, moment: Moment, kept: int) -> None:
    """A host that stops with a request in its hands does with it what it would have done when it goes on, even if
    nobody waits for it any more."""
    with closing(connected(hosts, send_receive_timeout=1)) as client:
        hosts.hosts[0].fail(Fault(action="stop", moment=moment, of=("insert",), times=1))
        with pytest.raises(OperationalError):
            insert(client, table, range(10))
    assert kept == count(hosts, table)
    hosts.heal()
    deadline = time.monotonic() + patient(10)
    while count(hosts, table) < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 10 == count(hosts, table)
