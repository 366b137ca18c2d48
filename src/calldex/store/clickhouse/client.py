"""The way to ClickHouse: its hosts one after another, or its engine in this process. The only module that knows the
client.

A question goes to a host that answers; when that fails in a way that another host may not, the next one is asked. What
is inserted carries a token by which ClickHouse knows it again, so it may be sent again when nobody knows whether it
arrived. Says what went wrong in our errors, never with a password.
"""

from __future__ import annotations

import logging
import math
import queue
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final, TypeVar

import clickhouse_connect
import structlog
import urllib3
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error, OperationalError
from clickhouse_connect.driver.httpclient import HttpClient
from clickhouse_connect.driver.httputil import get_pool_manager

from calldex import budget
from calldex.errors import DiskFull, Unavailable, UnreadableInput
from calldex.store.clickhouse.address import Dsn
from calldex.store.sql import Parameter, Sql

_CONNECT_S: Final = 2
_PING_S: Final = 2.0
_GREETING_S: Final = 3
"""How long a host may take for the few questions with which a client begins."""
_LEAST_S: Final = 0.1
"""What an operation has when the greeting took all its time."""
_TRUSTED_S: Final = 1.0
"""For so long after its last answer a host is asked without asking first whether it is there."""
_SHUNNED_S: Final = 3.0
"""For so long after a failure a host is asked last, at least."""
_SHUNNED_TIMES: Final = 5
"""If it let others wait, for so many times as long: who asks it again waits as long again."""
_ROUNDS: Final = 2
"""How often all hosts are tried before it is given up."""
_PAUSE_S: Final = 0.2
"""Between those."""
_INSERT_S: Final = 30.0
"""How long a host may take for an insert."""
_CHANGE_S: Final = 300.0
"""How long it may take to drop versions, which waits for merges and for every replica. Given up and begun again each
minute, it would pile up; no request waits for it."""
_LATE_S: Final = 2.0
"""How much longer than a query may take its answer is waited for: the host stops it by itself."""
_AGAIN_S: Final = 2
"""What those who are told to try again are told to wait."""

_TIMED_OUT: Final = frozenset({159, 160})
_FULL: Final = frozenset({243})
_ELSEWHERE: Final = frozenset(
    (*(60, 164, 202, 209, 210, 225, 236, 242, 252, 279), *(285, 286, 289, 319, 394, 415, 439, 497, 701, 999))
)
"""Of ClickHouse's error codes those that another host, or the same one later, may not give: no such table, read-only,
too many queries, too many parts, no network, no Keeper, no quorum, shutting down, no right, no cluster and the like."""
_NEXT: Final = 286
"""Another insert has not reached its quorum yet: they go one after another, and whoever waits comes next."""
_REFUSED: Final = frozenset({192, 193, 194, 516})
_UNKNOWN_DATABASE: Final = 81

_SETTINGS: Final[Mapping[str, object]] = {
    # A batch is one block, cut the same way when it is sent again, so that its token is known again.
    "async_insert": 0,
    "insert_deduplicate": 1,
    "max_insert_block_size": 1_048_576,
    "max_partitions_per_insert_block": 0,  # a batch may be of any number of months
    "input_format_parallel_parsing": 0,
    # Rows of one version are put together by merges alone; until then queries tell them apart.
    "optimize_on_insert": 0,
    # Of a cluster: an account lies on one shard, its subqueries too; an insert is over when the shard has it.
    "distributed_product_mode": "local",
    "distributed_foreground_insert": 1,
    "optimize_skip_unused_shards": 1,
    # What drops versions is over when it returns.
    "mutations_sync": 2,
}
_NEWER_DEDUPLICATION: Final = "deduplicate_insert"
"""What counts instead of `insert_deduplicate` where ClickHouse has it; a profile might switch it off."""
_SAME_PARTS: Final = "enable_shared_storage_snapshot_in_query"
"""With it a search and its subqueries see the same parts; a merge between them could show a version that has ended."""
_LAZY: Final = "query_plan_max_limit_for_lazy_materialization"
"""With 0, JSON is read of the records of a page alone, however large it is and however many are skipped before it; else
of all that match, if that is more than 10 or, in later versions, 10,000."""
OLDEST: Final = "25.6"
"""The first ClickHouse that has `_SAME_PARTS`; some later ones have it and do not use it unless they are told to."""
_REPLICATED: Final[Mapping[str, object]] = {
    # Whichever replica answers has every insert that was acknowledged.
    "insert_quorum": "auto",
    "insert_quorum_parallel": 0,
    "select_sequential_consistency": 1,
    # What drops versions asks which those are, and each replica has the same.
    "allow_nondeterministic_mutations": 1,
}

_MOST: Final = 3000
_LONGEST: Final = 30_000
"""Values of a list and characters of a text in one parameter: as UTF-8, quoted, they stay below the 128 KiB that
ClickHouse takes for one over HTTP."""

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)
# Each failure is told by us, once, with the host.
logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)


def bound(sql: Sql) -> tuple[str, dict[str, Any]]:
    """The text with a named parameter of its type for each question mark; with several where a value is long."""
    parts = sql.text.split("?")
    if len(parts) != len(sql.parameters) + 1:
        raise ValueError(f"{len(sql.parameters)} parameters for {len(parts) - 1} question marks in {sql.text}")
    text = [parts[0]]
    values: dict[str, Any] = {}
    for value, part in zip(sql.parameters, parts[1:], strict=True):
        match value:
            case str() if len(value) > _LONGEST:
                text.append(_joined("concat", [_one(values, some) for some in _cut(value, _LONGEST)]))
            case list() if len(value) > _MOST:
                text.append(_joined("arrayConcat", [_one(values, some) for some in _cut(value, _MOST)]))
            case _:
                text.append(_one(values, value))
        text.append(part)
    return "".join(text), values


def _cut(value: Any, length: int) -> list[Any]:
    return [value[at : at + length] for at in range(0, len(value), length)]


def _joined(function: str, parts: list[str]) -> str:
    return f"{function}({', '.join(parts)})"


def _one(values: dict[str, Any], value: Parameter) -> str:
    """Add a parameter, and how it is written."""
    name = f"p{len(values)}"
    written, values[name] = _parameter(name, value)
    return written


def _parameter(name: str, value: Parameter) -> tuple[str, Any]:
    match value:
        case bool():
            return f"{{{name}:Bool}}", value
        case int():
            return f"{{{name}:Int64}}", value
        case str():
            return f"{{{name}:String}}", value
        case bytes():
            return f"unhex({{{name}:String}})", value.hex()
        case list():
            return _list(name, value)
    raise TypeError(f"{type(value).__name__} is no parameter of ClickHouse")


def _list(name: str, values: list[Any]) -> tuple[str, list[Any]]:
    if values and isinstance(values[0], bytes):  # 16 each; as numbers, which are written much faster than texts
        numbers = [int.from_bytes(value) for value in values]
        return f"arrayMap(n -> reinterpret(byteSwap(n), 'FixedString(16)'), {{{name}:Array(UInt128)}})", numbers
    kind = "Int64" if all(isinstance(value, int) for value in values) else "String"
    return f"{{{name}:Array({kind})}}", values


class _Host:
    """One host, and its idle clients: each is used by one thread at a time."""

    def __init__(self, address: Dsn, number: int, settings: dict[str, object]) -> None:
        self.name = address.host_names[number]
        self._address, self._number, self._settings = address, number, settings
        self._idle: queue.LifoQueue[Client] = queue.LifoQueue()
        self._pool: urllib3.PoolManager | None = None
        self.answered = self.shunned_until = -1e9
        if not address.path:
            self._pool = get_pool_manager(verify=True, ca_cert=address.ca_cert, maxsize=64, block=False)

    @property
    def shunned(self) -> bool:
        return time.monotonic() < self.shunned_until

    def shun(self, began: float) -> None:
        """It failed an operation that began then: it is asked last, for longer if it let others wait for long."""
        now = time.monotonic()
        self.shunned_until, self.answered = now + max(_SHUNNED_S, _SHUNNED_TIMES * (now - began)), -1e9

    def try_again(self, seconds: float) -> None:
        """If it failed before, one asks it whether it is back, and for so long nobody else."""
        if self.shunned_until > 0:
            self.shunned_until = max(self.shunned_until, time.monotonic() + seconds)

    def check(self, seconds: float = math.inf) -> None:
        """Ask within these seconds whether the host is there, unless it answered a moment ago; `OperationalError`."""
        if self._pool is None or time.monotonic() - self.answered < _TRUSTED_S:
            return
        try:
            reply = self._pool.request(
                "GET", f"{self._address.url(self._number)}/ping", timeout=min(_PING_S, seconds), retries=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise OperationalError(_reason(error)) from error
        if reply.status != 200:
            raise OperationalError(f"answers {reply.status} when asked whether it is there")
        self.answered = time.monotonic()

    @contextmanager
    def client(self, seconds: float) -> Iterator[Client]:
        """A client for one operation, which may take so long, greeting included; one that fails is not used again."""
        end = time.monotonic() + seconds
        try:
            client = self._idle.get_nowait()
        except queue.Empty:
            client = self._connect(max(1, int(min(seconds, _GREETING_S))))  # it takes whole seconds alone
        if isinstance(client, HttpClient):
            client.timeout = urllib3.Timeout(connect=_CONNECT_S, read=max(end - time.monotonic(), _LEAST_S))
        try:
            yield client
        except BaseException:
            client.close()
            raise
        self._idle.put(client)

    def _connect(self, greeting_s: int) -> Client:
        address = self._address
        if address.path:
            client = clickhouse_connect.get_client(interface="chdb", path=address.path, settings=dict(self._settings))
            client.command("CREATE DATABASE IF NOT EXISTS {name:Identifier}", parameters={"name": address.database})
            client.database = address.database
            return client
        host, port = address.hosts[self._number]
        return clickhouse_connect.get_client(
            host=host,
            port=port,
            username=address.user,
            password=address.password,
            database=address.database,
            secure=address.secure,
            connect_timeout=_CONNECT_S,
            send_receive_timeout=greeting_s,
            query_retries=0,
            autogenerate_session_id=False,
            form_encode_query_params=True,
            pool_mgr=self._pool,
            settings=dict(self._settings),
        )

    def set(self, settings: Mapping[str, object]) -> None:
        """Clients from now on have these settings as well."""
        self._settings |= settings
        self._end_idle()

    def _end_idle(self) -> None:
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def close(self) -> None:
        self._end_idle()
        if self._pool is not None:
            self._pool.clear()


class Hosts:
    """Asks ClickHouse. May be used from several threads. `timeout_s`: how long a question may take."""

    def __init__(self, address: Dsn, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        settings = {**_SETTINGS, "max_execution_time": max(1, round(timeout_s))}
        self._hosts = [_Host(address, number, dict(settings)) for number in range(len(address.host_names))]

    def adapt(self, *, replicated: bool) -> None:
        """From now on know whether the tables are replicated, and use what this version has; `UnreadableInput` if it is
        too old."""
        newer = {_NEWER_DEDUPLICATION: "enable", _SAME_PARTS: "1", _LAZY: "0"}
        found = {name for (name,) in self.rows(Sql("SELECT name FROM system.settings WHERE name IN ?", ([*newer],)))}
        if _SAME_PARTS not in found:
            ((version,),) = self.rows(Sql("SELECT version()"))
            raise UnreadableInput(f"{self._address} is ClickHouse {version}; Calldex needs {OLDEST} or newer")
        settings = {name: newer[name] for name in found} | (dict(_REPLICATED) if replicated else {})
        for host in self._hosts:
            host.set(settings)

    # --- operations ---------------------------------------------------------------------------------------------------

    def columns(self, sql: Sql) -> Sequence[Sequence[Any]]:
        """The columns of an answer; JSON as bytes."""
        text, values = bound(sql)

        def ask(client: Client) -> Sequence[Sequence[Any]]:
            seconds = {"max_execution_time": math.ceil(budget.left(self._timeout_s))}
            found = client.query(
                text, parameters=values, settings=seconds, column_formats={"json": "bytes", "text": "bytes"}
            )
            return found.result_columns

        return self._asked(ask, budget.left(self._timeout_s) + _LATE_S)

    def rows(self, sql: Sql) -> list[tuple[Any, ...]]:
        """The rows of an answer."""
        return list(zip(*self.columns(sql), strict=True))

    def command(self, sql: Sql) -> None:
        """Do something that may be done twice."""
        text, values = bound(sql)
        self._asked(lambda client: client.command(text, parameters=values), _CHANGE_S)

    def insert(self, table: str, types: Mapping[str, str], columns: Sequence[Sequence[Any]], token: str) -> None:
        """Insert rows, given as columns in the order of `types`. Under the same token, they are kept once."""

        def put(client: Client) -> None:
            client.insert(
                table,
                columns,
                column_names=list(types),
                column_type_names=list(types.values()),
                column_oriented=True,
                settings={"insert_deduplication_token": token},
            )

        self._asked(put, _INSERT_S)

    # --- hosts --------------------------------------------------------------------------------------------------------

    def _asked(self, ask: Callable[[Client], _T], seconds: float) -> _T:
        """What a host answers within some seconds, one after another, those that failed a moment ago last. When one has
        not answered in that time, all others together have as much again."""
        began, told, rounds, next_ = time.monotonic(), "", 0, False
        while rounds < _ROUNDS or (next_ and time.monotonic() - began < seconds):
            if rounds:
                time.sleep(_PAUSE_S)
            rounds += 1
            hosts = sorted(self._hosts, key=lambda host: host.shunned)
            for number, host in enumerate(hosts):
                gone = time.monotonic() - began
                wait = seconds if gone < seconds else (2 * seconds - gone) / (len(hosts) - number)
                if wait <= 0:
                    break
                host.try_again(_PING_S)
                try:
                    host.check(wait)
                    with host.client(wait) as client:
                        found = ask(client)
                except Error as error:
                    told, next_ = self._failed(host, error, began + gone), error.code == _NEXT
                else:
                    host.answered, host.shunned_until = time.monotonic(), -1e9
                    return found
        raise Unavailable(f"ClickHouse cannot be used now: {told}", retry_after=_AGAIN_S)

    def _failed(self, host: _Host, error: Error, began: float) -> str:
        """What to tell if no other host does better; raises what another host would not do otherwise."""
        told = f"{host.name}: {_reason(error)}"
        code = error.code
        if code in _TIMED_OUT:
            raise budget.spent(self._timeout_s) from None
        if code is not None and code not in _ELSEWHERE | _FULL | _REFUSED | {_UNKNOWN_DATABASE}:
            raise error
        if code in _FULL and len(self._hosts) == 1:
            raise DiskFull(f"ClickHouse has no room left: {told}") from error
        if code == _NEXT:
            return told
        if not host.shunned:
            _log.warning("clickhouse_host_failed", host=host.name, reason=_reason(error))
        host.shun(began)
        return told

    def down(self) -> list[str]:
        """The hosts that do not answer now, each with the reason; all are asked at once."""
        with ThreadPoolExecutor(len(self._hosts), "clickhouse-check") as pool:
            return [told for told in pool.map(self._down, self._hosts) if told is not None]

    def _down(self, host: _Host) -> str | None:
        try:
            host.check()  # which does not make it trusted for longer, if it was not asked
        except Error as error:
            host.answered = -1e9
            return f"{host.name}: {_reason(error)}"
        return None

    @property
    def names(self) -> list[str]:
        """What the hosts are called."""
        return [host.name for host in self._hosts]

    def open(self) -> None:
        """Reach one host, or say why none can be with `UnreadableInput`, within seconds: all are tried at once."""
        if self._address.path and find_spec("chdb") is None:
            raise UnreadableInput(
                f"{self._address} needs the engine that comes with Calldex's extra `chdb`: install it"
            )
        failures: list[tuple[str, Error]] = []
        pool = ThreadPoolExecutor(len(self._hosts), "clickhouse-start")
        for trial in as_completed([pool.submit(self._reached, host) for host in self._hosts]):
            if (failure := trial.result()) is None:
                pool.shutdown(wait=False)
                return
            failures.append(failure)
        pool.shutdown()
        raise _start_error(self._address, failures)

    def _reached(self, host: _Host) -> tuple[str, Error] | None:
        """The name of a host and why it cannot be used; None if it can."""
        began = time.monotonic()
        try:
            host.check()
            with host.client(_GREETING_S):
                host.answered = time.monotonic()
        except Error as error:
            host.shun(began)
            return host.name, error
        return None

    def close(self) -> None:
        """Let go of every connection."""
        for host in self._hosts:
            host.close()


def _start_error(address: Dsn, failures: Sequence[tuple[str, Error]]) -> UnreadableInput:
    """What to tell of hosts none of which can be used: what the first says that answered, else what each does."""
    name, answer = next((failure for failure in failures if failure[1].code is not None), failures[0])
    if answer.code in _REFUSED:
        return UnreadableInput(
            f"ClickHouse at {name} refuses the user {address.user!r}: wrong name or password; correct it in `store`"
        )
    if answer.code == _UNKNOWN_DATABASE:
        return UnreadableInput(
            f"ClickHouse at {name} has no database {address.database!r}; create it, or name another in `store`"
        )
    if address.path:
        return UnreadableInput(
            f"ClickHouse's engine cannot use {address.path}: {_reason(answer)}; another process may have it open, or"
            " this one may not write there"
        )
    told = "; ".join(f"{name}: {_reason(error)}" for name, error in failures)
    return UnreadableInput(f"ClickHouse cannot be reached: {told}. Check hosts, port and `secure` in `store`")


def _reason(error: Exception) -> str:
    """What an error says, in one line."""
    text = " ".join(str(error).split())
    if "timed out" in text:
        return "does not answer in time"
    if "Connection refused" in text:
        return "refuses connections"
    found = re.search(r"Code: \d+\. (?:DB::Exception: )?(.{1,200})", text)
    return found[1] if found else text[:200]
