"""Hosts of a ClickHouse cluster fail in every way they know, while several nodes write and read: what was acknowledged
is kept, once, and no walk sees anything that was not there."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Final
from uuid import uuid4

import msgspec
import pytest
from _pytest.mark.structures import ParameterSet

from calldex.directory import Directory
from calldex.directory.sealing import SEALING_FILE
from calldex.errors import Unavailable, UsageProblem, WrongVersion
from calldex.store import Outcome, Store
from calldex.store.clickhouse import client
from calldex.store.clickhouse.dialect import CDR_TABLE
from calldex.store.clickhouse.schema import UUID_TABLE, VERSION, comment, ddl
from tests.clickhouse.cluster import Cluster, Host
from tests.clickhouse.front import READ_ONLY, TOO_MANY_PARTS, Fault, Kind, Moment, answering
from tests.clickhouse.load import GROUPS, SHARED, SIZE, Given, batch, groups, impatient, opened, seen, uuid
from tests.clickhouse.story import Node, Story
from tests.engines import disagreeing, erase
from tests.patience import patient
from tests.postgres import Server

START_S: Final = 10.0
"""How long a start may take."""
MOMENTS: Final[tuple[Moment, ...]] = ("before", "after", "within")
TABLES: Final = (CDR_TABLE, UUID_TABLE)
DATA: Final[tuple[Kind, ...]] = ("read", "insert", "change")

Injury = Callable[[Host], object]


def patience_s() -> float:
    """How long a host may take for an answer here."""
    return patient(2.0)


def failing(*faults: Fault) -> Injury:
    """A host has faults."""
    return lambda host: host.fail(*faults)


def broken(moment: Moment, *of: Kind, table: str = "") -> Injury:
    """A host resets the connections of such requests."""
    return failing(Fault(action="cut", moment=moment, of=of, table=table))


DEAD: Final[dict[str, Injury]] = {
    "killed": lambda host: host.kill(),
    "stopped": lambda host: host.stop(),
    **{f"cut {moment}": broken(moment, "read", "insert") for moment in MOMENTS},
    **{f"hangs {moment}": failing(Fault(action="stop", moment=moment, of=DATA)) for moment in MOMENTS},
    **{f"dies {moment}": failing(Fault(action="die", moment=moment, of=DATA)) for moment in MOMENTS},
    "answers 500": failing(Fault(action="answer", status=500, text="bad", of=DATA)),
    "answers 502": failing(Fault(action="answer", status=502, text="bad gateway")),
    "answers 503": failing(Fault(action="answer", status=503, text="come back later")),
}
"""What makes a host useless for reading and writing."""
READING: Final[dict[str, Injury]] = {
    "read-only": failing(READ_ONLY),
    "too many parts": failing(TOO_MANY_PARTS),
    # Of both tables that a write goes to: a host that failed at the first is not asked at once for the other.
    **{f"cuts {table} {moment}": broken(moment, "insert", table=table) for moment in MOMENTS for table in TABLES},
}
"""What leaves a host good for reading."""


def each(injuries: Mapping[str, Injury], *quick: str) -> list[ParameterSet]:
    """Each injury as a parameter; those not named are left to the long run."""
    return [
        pytest.param(injury, id=name, marks=() if name in quick else pytest.mark.slow)
        for name, injury in injuries.items()
    ]


@pytest.fixture(autouse=True)
def _nobody_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits half a minute for a host that hangs."""
    for name, seconds in impatient(patience_s()).items():
        monkeypatch.setattr(client, name, seconds)


@pytest.fixture
def open_store(hosts: Cluster, directory: Directory) -> Iterator[Callable[..., Store]]:
    """Opens a store on some hosts, in some order."""
    with ExitStack() as last:

        def opens(*order: int) -> Store:
            return last.enter_context(closing(opened(hosts.address(*order), directory, patience_s())))

        yield opens


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    """A store that asks the first host first, and then the others."""
    return open_store()


def held(store: Store, account: int) -> dict[int, str]:
    """The groups of an account as a walk sees them."""
    return groups(account, list(seen(store, account, store.head(account))))


@pytest.mark.parametrize("injury", each(DEAD, "killed", "cut after"))
def test_another_host_does_it(store: Store, hosts: Cluster, new_account: Callable[[], int], injury: Injury) -> None:
    """Whatever becomes of all hosts but one, reading and writing go on with that, and nothing is doubled, not even when
    the others go on with what they had in their hands."""
    account = new_account()
    store.write(batch(account, 0, "before"))
    for host in hosts.hosts[:2]:
        injury(host)
    assert {0: "before"} == held(store, account)
    assert [Outcome.UPDATED] * SIZE == store.write(batch(account, 0, "meanwhile"))
    assert [Outcome.ACCEPTED] * SIZE == store.write(batch(account, 1, "new"))
    assert {0: "meanwhile", 1: "new"} == held(store, account)
    assert SIZE == erase(store, account, [uuid(account, 1, number) for number in range(SIZE)])
    hosts.heal()
    assert [Outcome.UPDATED] * SIZE == store.write(batch(account, 0, "after"))
    assert {0: "after"} == held(store, account)
    assert [] == disagreeing(store)
    assert 3 == len(store.history(account, uuid(account, 0, 0)))


@pytest.mark.parametrize("injury", each(READING, "read-only", "cuts cdr_uuid after"))
def test_another_host_takes_writes(
    store: Store, hosts: Cluster, new_account: Callable[[], int], injury: Injury
) -> None:
    """A host that cannot be written to, or whose answers to inserts are lost, costs nothing and doubles nothing."""
    account = new_account()
    injury(hosts.hosts[0])
    assert [Outcome.ACCEPTED] * SIZE == store.write(batch(account, 0, "one"))
    assert {0: "one"} == held(store, account)
    assert [Outcome.UNCHANGED] * SIZE == store.write(batch(account, 0, "one"))
    assert [Outcome.UPDATED] * SIZE == store.write(batch(account, 0, "two"))
    assert hosts.hosts[0].fail() > 0
    assert {0: "two"} == held(store, account)
    assert 2 == len(store.history(account, uuid(account, 0, 0)))


@pytest.mark.parametrize("injury", each(DEAD | READING, "killed", "read-only"))
def test_what_cannot_be_written_is_refused(
    store: Store, hosts: Cluster, new_account: Callable[[], int], injury: Injury
) -> None:
    """When no host can be written to, the write fails with 503 and a time to come back, is seen by nobody, and succeeds
    when it is sent again later; what was there can be read wherever a host can be read from."""
    account = new_account()
    store.write(batch(account, 0, "before"))
    old, new = batch(account, 0, "meanwhile"), batch(account, 1, "meanwhile")
    both = msgspec.structs.replace(old, records=[*old.records, *new.records])
    for host in hosts.hosts:
        injury(host)
    with pytest.raises(Unavailable) as refused:
        store.write(both)
    assert (503, True) == (refused.value.status, (refused.value.retry_after or 0) > 0)
    if injury in READING.values():
        assert {0: "before"} == held(store, account)
    hosts.heal()
    assert {0: "before"} == held(store, account)
    assert [Outcome.UPDATED] * SIZE + [Outcome.ACCEPTED] * SIZE == store.write(both)
    assert {0: "meanwhile", 1: "meanwhile"} == held(store, account)
    assert [] == disagreeing(store)
    assert [2, 1] == [len(store.history(account, uuid(account, group, 0))) for group in range(2)]


@pytest.mark.parametrize("injury", each({name: DEAD[name] for name in ("killed", "stopped", "answers 502")}, "killed"))
def test_state_says_who_is_down(store: Store, hosts: Cluster, injury: Injury) -> None:
    """It names each host that is down, says so when all are, and is well again with them."""
    everyone = [f"127.0.0.1:{host.port}" for host in hosts.hosts]

    def state() -> tuple[bool, list[bool]]:
        time.sleep(1.1)  # a host that has just answered is not asked again
        try:
            told, ready = store.answers() or "", True
        except Unavailable as error:
            told, ready = error.message, False
        return ready, [name in told for name in everyone]

    assert (True, [False] * 3) == state()
    injury(hosts.hosts[1])
    assert (True, [False, True, False]) == state()
    injury(hosts.hosts[0])
    injury(hosts.hosts[2])
    assert (False, [True] * 3) == state()
    hosts.hosts[2].heal()
    assert (True, [True, True, False]) == state()
    hosts.heal()
    assert (True, [False] * 3) == state()


@pytest.mark.slow
def test_who_is_down_is_known_in_time(store: Store, hosts: Cluster) -> None:
    """Two hosts that hang take no longer to be known than one, so that the third is seen to answer in time."""
    for host in hosts.hosts[:2]:
        host.stop()
    time.sleep(1.1)
    began = time.monotonic()
    store.answers()
    assert time.monotonic() - began < 1.5 * vars(client)["_PING_S"]


@pytest.mark.slow
def test_who_hangs_holds_up_one_at_a_time(
    store: Store, hosts: Cluster, new_account: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one asks a host that hung whether it is back, others ask those that answer."""
    account = new_account()
    store.write(batch(account, 0, "there"))
    monkeypatch.setattr(client, "_SHUNNED_S", 0.0)
    monkeypatch.setattr(client, "_SHUNNED_TIMES", 0)
    hosts.hosts[0].stop()
    time.sleep(1.1)  # a host that has just answered is not asked first whether it is there

    def waited() -> bool:
        began = time.monotonic()
        held(store, account)
        return bool(time.monotonic() - began > vars(client)["_PING_S"])

    last = time.monotonic() + patient(30)
    while not waited():  # it was too slow when the store was opened, so that it is asked last for some seconds
        assert time.monotonic() < last
        time.sleep(0.1)
    with ThreadPoolExecutor(4) as threads:
        assert 1 == sum(threads.map(lambda _: waited(), range(4)))


def test_inserts_that_wait_for_each_other(store: Store, hosts: Cluster, new_account: Callable[[], int]) -> None:
    """While the insert of another node has no quorum yet, a replicated table takes no other: it is waited for."""
    account = new_account()
    other = answering(286, "Quorum for previous write has not been satisfied yet.", ("insert",), times=8)
    for host in hosts.hosts:
        host.fail(other)
    assert [Outcome.ACCEPTED] * SIZE == store.write(batch(account, 0, "new"))
    assert {0: "new"} == held(store, account)


@pytest.mark.slow
def test_a_write_that_comes_late_is_not_seen(
    open_store: Callable[..., Store], hosts: Cluster, new_account: Callable[[], int]
) -> None:
    """An insert that a stopped host holds until long after it was given up, and others wrote, changes nothing."""
    account = new_account()
    one, other = open_store(0), open_store(1)
    one.write(batch(account, 0, "before"))
    hosts.hosts[0].fail(Fault(action="stop", of=("insert",), times=1))
    with pytest.raises(Unavailable):
        one.write(batch(account, 0, "late"))
    assert [Outcome.UPDATED] * SIZE == other.write(batch(account, 0, "since"))
    as_of, told = other.head(account), held(other, account)
    numbers = _numbers(hosts, account)
    hosts.heal()
    deadline = time.monotonic() + patient(10)
    while _numbers(hosts, account) == numbers and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _numbers(hosts, account) > numbers  # it did come
    hosts.execute("OPTIMIZE TABLE cdr FINAL")
    for store in (one, other):
        assert ({0: "since"}, told) == (held(store, account), groups(account, list(seen(store, account, as_of))))
        assert 2 == len(store.history(account, uuid(account, 0, 0)))
        assert [] == disagreeing(store)


def _numbers(hosts: Cluster, account: int) -> int:
    """How many commit numbers the table has of an account. Not rows: merges make fewer of these at any moment, in the
    end as many of a version, its end and a late end as there were before."""
    (found,) = hosts.execute(f"SELECT toUInt32(uniqExact(seq)) AS n FROM cdr WHERE account_id = {account}")
    return int(found["n"])


# --- under load -------------------------------------------------------------------------------------------------------


class Load:
    """Two nodes at work on two accounts, with the hosts in another order each."""

    def __init__(self, hosts: Cluster, shared: str, sealing: Path, accounts: list[int]) -> None:
        self.hosts, self.shared, self.sealing, self.accounts = hosts, shared, sealing, accounts
        self.nodes: list[Node] = []
        self.told: list[Node] = []

    def start(self, which: int, *order: int) -> Node:
        """Start the first or the second node."""
        own = list(range(SHARED + which, GROUPS, 2))
        name = f"{'ab'[which]}{len(self.told)}"
        node = Node(
            Given(
                store=self.hosts.address(*order),
                directory=self.shared,
                sealing=str(self.sealing),
                name=name,
                accounts=self.accounts,
                own=own,
                patience_s=patience_s(),
            )
        )
        self.told.append(node)
        return node

    def go_on(self, end: float, seconds: float, *, until_refused: bool = False) -> bool:
        """Whether to go on: until an instant, and as much was done as is to be told from it."""
        story = Story(self.told)
        done = min(story.kept(), len(story.walks)) > seconds and (bool(story.refused) or not until_refused)
        return time.monotonic() < end or not done

    def judged(self, directory: Directory) -> Story:
        """What all nodes told, when every host is well again: nothing lost, doubled or wrong."""
        story = Story(self.told)
        assert [] == list(story.contradictions())
        finals = []
        for order in ((0, 1, 2), (2,)):
            with closing(opened(self.hosts.address(*order), directory, patience_s())) as store:
                assert [] == list(story.losses(store))
                assert [] == disagreeing(store)
                finals.append([held(store, account) for account in self.accounts])
        assert finals[0] == finals[1]
        return story


@pytest.fixture
def load(hosts: Cluster, shared: str, tmp_path: Path, new_account: Callable[[], int]) -> Iterator[Load]:
    """A load of the test's own; its nodes end with it."""
    made = Load(hosts, shared, tmp_path / SEALING_FILE, [new_account(), new_account()])
    yield made
    for node in made.told:
        node.kill()


INJURIES: Final[Sequence[Injury]] = (*DEAD.values(), *READING.values())


def hurt(load: Load, hosts: Sequence[Host], seconds: float) -> None:
    """Hurt one host after another, and heal it after a while."""
    chance = random.Random(seconds)
    end = time.monotonic() + seconds
    while load.go_on(end, seconds):
        host = chance.choice(hosts)
        chance.choice(INJURIES)(host)
        time.sleep(chance.uniform(0.1, 1.0))
        host.heal()
        time.sleep(chance.uniform(0, 0.2))


@pytest.mark.parametrize("seconds", [pytest.param(8, marks=pytest.mark.slow), pytest.param(90, marks=pytest.mark.soak)])
def test_hosts_fail_under_load(load: Load, hosts: Cluster, directory: Directory, seconds: int) -> None:
    """While hosts fail and one of them never does, every walk goes on, and every write but those that nobody could
    know of."""
    nodes = [load.start(0, 0, 1, 2), load.start(1, 1, 0, 2)]
    hurt(load, hosts.hosts[:2], seconds)
    hosts.heal()
    for node in nodes:
        node.finish()
    story = load.judged(directory)
    assert [] == story.failed
    assert [] == story.refused
    assert min(story.kept(), len(story.walks)) > seconds


@pytest.mark.parametrize("seconds", [pytest.param(6, marks=pytest.mark.slow), pytest.param(60, marks=pytest.mark.soak)])
def test_all_hosts_fail_under_load(load: Load, hosts: Cluster, directory: Directory, seconds: int) -> None:
    """Also when all hosts are gone for a while: what was refused is not there, or is there whole."""
    nodes = [load.start(0, 0, 1, 2), load.start(1, 1, 0, 2)]
    end = time.monotonic() + seconds
    chance = random.Random(seconds)
    while load.go_on(end, seconds, until_refused=True):
        for host in hosts.hosts:
            chance.choice(INJURIES)(host)
        time.sleep(chance.uniform(0.5, 1.5))
        hosts.heal()
        time.sleep(chance.uniform(0.2, 1.0))
    for node in nodes:
        node.finish()
    story = load.judged(directory)
    assert story.refused
    assert story.kept() > seconds


@pytest.mark.parametrize("seconds", [pytest.param(6, marks=pytest.mark.slow), pytest.param(60, marks=pytest.mark.soak)])
def test_nodes_die_under_load(load: Load, server: Server, directory: Directory, seconds: int) -> None:
    """A node that is killed or stopped in the middle of a write, or whose PostgreSQL connections are cut, leaves
    nothing half written, and the other goes on."""
    chance = random.Random(seconds)
    lasting = load.start(0, 0, 1, 2)
    dying = load.start(1, 1, 2, 0)
    end = time.monotonic() + seconds
    while load.go_on(end, seconds):
        time.sleep(chance.uniform(0.2, 1.0))
        match chance.randrange(3):
            case 0:
                dying.kill()
                dying = load.start(1, 1, 2, 0)
            case 1:
                dying.send(SIGSTOP)
                time.sleep(chance.uniform(0.1, 1.0))
                cut(server)
                time.sleep(chance.uniform(0.1, 1.0))
                dying.send(SIGCONT)
            case _:
                cut(server)
    for node in (lasting, dying):
        node.finish()
    story = load.judged(directory)
    assert story.kept() > seconds


def cut(server: Server) -> None:
    """End all connections to the directory."""
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'nodes'")


# --- at start ---------------------------------------------------------------------------------------------------------


@contextmanager
def refused(*holds: str, lacks: str, error: type[UsageProblem] = UsageProblem) -> Iterator[None]:
    """What is done is refused within ten seconds, with a message that holds some texts; nothing of what led to it says
    the password."""
    began = time.monotonic()
    with pytest.raises(error) as raised:
        yield
    assert time.monotonic() - began < patient(START_S)
    assert [] == [text for text in holds if text not in raised.value.message], raised.value.message
    chain: BaseException | None = raised.value
    while chain is not None:
        assert lacks not in f"{chain!s} {chain!r}"
        chain = chain.__cause__ or chain.__context__


@pytest.mark.parametrize(
    ("injury", "word"),
    [
        (DEAD["killed"], "refuses"),
        (DEAD["stopped"], "does not answer"),
        (failing(Fault(action="stop", of=DATA)), "does not answer"),
        (failing(Fault(action="delay", seconds=30, of=DATA)), "does not answer"),
        (failing(Fault(action="delay", seconds=30, of=("ping",))), "does not answer"),
        (DEAD["answers 502"], "502"),
    ],
    ids=["refused", "stopped", "stops", "hangs", "no ping", "502"],
)
def test_no_host_can_be_reached(
    hosts: Cluster, directory: Directory, monkeypatch: pytest.MonkeyPatch, injury: Injury, word: str
) -> None:
    """When no host can be used, the start ends within ten seconds, names every host, and says what it did."""
    monkeypatch.undo()  # as patient as it is
    for host in hosts.hosts:
        injury(host)
    names = [f"127.0.0.1:{host.port}" for host in hosts.hosts]
    with refused(*names, word, "`store`", lacks=hosts.password):
        opened(hosts.address(), directory)


def test_many_hosts_that_never_answer(hosts: Cluster, directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no longer with many hosts."""
    monkeypatch.undo()
    hosts.hosts[0].stop()
    with refused("does not answer", lacks=hosts.password):
        opened(hosts.address(*[0] * 32), directory)


@pytest.mark.parametrize("injury", each(DEAD, "killed"))
def test_one_host_is_enough(hosts: Cluster, directory: Directory, injury: Injury) -> None:
    """A node starts in time while one host answers."""
    injury(hosts.hosts[0])
    injury(hosts.hosts[1])
    began = time.monotonic()
    with closing(opened(hosts.address(), directory)) as store:
        assert time.monotonic() - began < patient(START_S)
        assert store.state().ready


def test_a_wrong_password(hosts: Cluster, directory: Directory) -> None:
    """Who is refused is told the user and where, and no password."""
    with refused("'calldex'", "127.0.0.1:", "password", "`store`", lacks="s3cret"):
        opened(hosts.address(password="s3cret"), directory)
    with refused("'nobody'", "127.0.0.1:", "password", "`store`", lacks=hosts.password):
        opened(hosts.address(user="nobody"), directory)


def test_a_wrong_database(hosts: Cluster, directory: Directory) -> None:
    """A database that is not there is named."""
    with refused("'elsewhere'", "create", "`store`", lacks=hosts.password):
        opened(hosts.address(database="elsewhere"), directory)


@pytest.fixture
def other(hosts: Cluster) -> Iterator[str]:
    """A database of the test's own with all tables."""
    hosts.execute("CREATE DATABASE other", "")
    for statement in ddl():
        hosts.execute(statement, "other")
    yield "other"
    hosts.execute("DROP DATABASE other", "")


@pytest.mark.parametrize("table", ["cdr", "cdr_uuid"])
def test_a_missing_table(hosts: Cluster, directory: Directory, other: str, table: str) -> None:
    """A missing table is named, and what makes it."""
    hosts.execute(f"DROP TABLE {table}", other)
    with refused(f"no table {table};", "`calldex schema", lacks=hosts.password):
        opened(hosts.address(database=other), directory)


@pytest.mark.parametrize("comment", [f"calldex schema {VERSION + 1}", "of somebody else", ""])
@pytest.mark.parametrize("table", ["cdr", "cdr_uuid"])
def test_a_schema_of_another_version(
    hosts: Cluster, directory: Directory, other: str, table: str, comment: str
) -> None:
    """A table of another version, or of somebody else, is refused by name."""
    hosts.execute(f"ALTER TABLE {table} MODIFY COMMENT '{comment}'", other)
    version = comment.replace("calldex schema", "schema version") if "calldex" in comment else "no schema of Calldex"
    with refused(table, version, f"version {VERSION}", lacks=hosts.password, error=WrongVersion):
        opened(hosts.address(database=other), directory)


def test_a_cluster_that_does_not_exist(hosts: Cluster, directory: Directory, other: str) -> None:
    """Tables of a cluster that ClickHouse has no more, as after its configuration was changed, are told from it."""
    hosts.execute("DROP TABLE cdr SYNC", other)
    # Only what is attached is taken without the cluster.
    hosts.execute(
        f"ATTACH TABLE cdr UUID '{uuid4()}' (seq UInt64)"
        f" ENGINE = Distributed('gone', '{other}', 'cdr_local', seq) COMMENT '{comment()}'",
        other,
    )
    with refused("cluster 'gone'", "`remote_servers`", lacks=hosts.password):
        opened(hosts.address(database=other), directory)


def test_a_table_that_goes(hosts: Cluster, directory: Directory, other: str) -> None:
    """When a table is gone under a node that runs, reading and writing are refused for now, as if the host was."""
    with closing(opened(hosts.address(database=other), directory)) as store:
        hosts.execute("DROP TABLE cdr_uuid SYNC", other)
        for work in (lambda: store.history(1, uuid(1, 0, 0)), lambda: store.write(batch(10**6, 0, "new"))):
            with pytest.raises(Unavailable, match="cdr_uuid"):
                work()
