"""The arrows between the layers of Calldex, and the size of its parts, read from the source itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final, cast

import pytest

from calldex.store import Records

ROOT = Path(__file__).parents[1]
PACKAGE = "calldex"
MODULE_LINES = 700
FUNCTION_LINES = 70

PURE = (
    *("records", "access", "search.query", "search.token", "audit.chain", "store.sql"),
    *("store.aggregates", "store.embedded.dialect", "store.clickhouse.dialect"),
    *("store.clickhouse.address", "store.clickhouse.schema", "store.clickhouse.writing"),
)
INPUT_OUTPUT = frozenset(
    (
        *("os", "io", "pathlib", "socket", "sqlite3", "apsw", "duckdb"),
        *("sqlalchemy", "httpx", "threading", "subprocess", "starlette"),
    )
)
ABOVE_FORMATS = ("store", "ingest", "directory", "api")
MAY_START_THE_API = ("api", "cli", "__main__")
BELOW_TRANSPORT = ("records", "access", "formats", "store", "directory", "audit", "ingest", "search", "admin")
SURFACES = ("api", "cli")
BESIDE_SURFACES = ("admin", "jobs", "transport")
"""They may look at a query and a scope, but read no records by them either."""
TO_LOOK_AT = ("search.query.parse", "access.scope_of")
ANOTHER_WAY_TO_RECORDS = (
    *("search.page.Pager", "search.query.parse", "search.query.Query", "search.query.Condition", "search.token"),
    *(
        "search.feed.ChangeFeed",
        "store.Store",
        "store.Records",
        "store.ChangeLog",
        "store.sql",
        "store.embedded",
        "store.clickhouse.ClickhouseStore",
        "store.clickhouse.client",
    ),
    *("access.masking.masked", "access.masking.served", "access.scope_of"),
)
"""What a surface would read records with, if not through `search.reader`."""
READS = frozenset(each for each in vars(Records) if each[0] != "_") - {"head", "head_at_once", "purged_upto"}
"""What a store is asked about records; whatever its log is asked tells of them as well."""
ENGINES = {
    "apsw": ("store.embedded",),
    "duckdb": ("exports.reading", "store.embedded"),
    "clickhouse_connect": ("store.clickhouse",),
}
"""The drivers of engines, and the store each belongs to; one also reads the JSON of exports, and is asked nothing of a
store for it."""
NAMES_OF_ENGINES: Final = re.compile(r"duckdb|sqlite|apsw|clickhouse|chdb", re.IGNORECASE)
MAY_NAME_ENGINES: Final = {
    "store.embedded": "it is made of two engines",
    "store.clickhouse": "it is made of one",
    "exports.reading": "it reads JSON as columns by an engine, and keeps nothing in it",
    "node": "it puts the parts together",
    "directory": "it keeps what is no record in a database of its own, by SQLAlchemy",
    "sync": "a client, which writes copies into databases of others, and notes in one of its own how far it is",
    "address": "the setting `store` names an engine by its address",
    "cli.migrating": "its help has such an address",
    "cli.schema": "it prints the tables of an engine that others run",
    "cli.care": "its help says what a backup has not",
}
"""Which modules may speak of an engine, and why."""


def sources(*folders: str) -> list[Path]:
    """Every Python file below these folders of the repository."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    """`store.embedded.ledger` of `src/calldex/store/embedded/ledger.py`; a package has the name of its folder."""
    parts = path.relative_to(ROOT / "src" / PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def nodes(source: str) -> tuple[ast.AST, ...]:
    """What a module is made of: several rules look at each."""
    return tuple(ast.walk(ast.parse(source)))


@cache
def imports(source: str) -> frozenset[str]:
    """Every name that a module imports anywhere; of `from a import b` both `a` and `a.b`, which may be a module."""
    names: set[str] = set()
    for node in nodes(source):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def within(module: str, layers: tuple[str, ...]) -> bool:
    """Whether a module is one of these layers or a part of one."""
    return any(module == layer or module.startswith(f"{layer}.") for layer in layers)


def wrong_arrows(module: str, source: str) -> Iterator[str]:
    """Each import that the layer of this module (named without `calldex.`) must not have."""
    names = imports(source)
    outside = {name.split(".")[0] for name in names}
    ours = {name.removeprefix(f"{PACKAGE}.") for name in names if name.startswith(f"{PACKAGE}.")}
    if module == "records.record" and PACKAGE in outside:
        yield f"{module} imports something of ours"
    if within(module, ("formats",)):
        yield from (f"{module} imports {name}" for name in sorted(ours) if within(name, ABOVE_FORMATS))
    if within(module, PURE):
        yield from (f"{module} imports {name}" for name in sorted(outside & INPUT_OUTPUT))
    if "starlette" in outside and not within(module, ("api", "transport")):
        yield f"{module} imports starlette"
    if within(module, BELOW_TRANSPORT):
        yield from (f"{module} imports {name}" for name in sorted(ours) if within(name, ("transport",)))
    if not within(module, MAY_START_THE_API):
        yield from (f"{module} imports {name}" for name in sorted(ours) if within(name, ("api",)))


def other_ways_to_records(module: str, source: str) -> Iterator[str]:
    """Whatever a surface reads records with, but the reader: an import, or a question to a node's store."""
    if not within(module, (*SURFACES, *BESIDE_SURFACES)):
        return
    ours = {name.removeprefix(f"{PACKAGE}.") for name in imports(source)}
    if not within(module, SURFACES):
        ours -= set(TO_LOOK_AT)
    yield from (f"{module} imports {name}" for name in sorted(ours) if within(name, ANOTHER_WAY_TO_RECORDS))
    for node in nodes(source):
        match node:
            case ast.Attribute(value=ast.Attribute(attr="store") | ast.Name(id="store"), attr=asked) if asked in READS:
                yield f"{module} asks a store for {asked}"
            case ast.Attribute(value=ast.Attribute(attr="store") | ast.Name(id="store"), attr="log"):
                yield f"{module} asks a store for log"


def other_clocks(module: str, source: str) -> Iterator[str]:
    """Whatever tells a module the time, but `clock`; a migration is frozen as it was."""
    if module == "clock" or within(module, ("directory.migrations",)):
        return
    for node in nodes(source):
        match node:
            case (
                ast.Attribute(value=ast.Name(id="time" as asked), attr="time" | "time_ns" as what)
                | ast.Attribute(
                    value=ast.Name(id="datetime" | "date" as asked), attr="now" | "utcnow" | "today" as what
                )
            ):
                yield f"{module} asks {asked}.{what}"


def oversize(source: str) -> Iterator[str]:
    """What is missing or too long in a module: its docstring, its lines, the lines of a function."""
    module = nodes(source)[0]
    if not ast.get_docstring(cast("ast.Module", module)):
        yield "no docstring"
    if (length := len(source.splitlines())) > MODULE_LINES:
        yield f"{length} lines"
    for node in nodes(source):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{node.name} has {length} lines"


@cache
def text(path: Path) -> str:
    """What stands in a file."""
    return path.read_text()


def everywhere(rule: Callable[[str, str], Iterable[str]]) -> list[str]:
    """What a rule finds in all modules, each with its name."""
    return [found for path in sources(f"src/{PACKAGE}") for found in rule(module_name(path), text(path))]


def test_arrows_run_one_way() -> None:
    """No module imports what its layer must not know."""
    assert [] == everywhere(wrong_arrows)


def test_there_is_one_way_to_records() -> None:
    """Every surface reads records through `search.reader`."""
    assert [] == everywhere(other_ways_to_records)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from calldex.search.query import parse", "api.cdr imports search.query.parse"),
        ("from calldex.store import Store", "api.cdr imports store.Store"),
        ("from calldex.store.embedded import EmbeddedStore", "api.cdr imports store.embedded"),
        ("node.store.slice(query, 1, limit=1, total=1)", "api.cdr asks a store for slice"),
        ("self._node.store.get(1, uuid)", "api.cdr asks a store for get"),
        ("store = node.store\nstore.history(1, uuid)", "api.cdr asks a store for history"),
        ("node.store.walk(query, 1, size=1, total=1)", "api.cdr asks a store for walk"),
        ("node.store.missed(query, 1, ask)", "api.cdr asks a store for missed"),
        ("node.store.log.since(query, 0, 0, 1)", "api.cdr asks a store for log"),
    ],
)
def test_another_way_to_records_is_seen(source: str, expected: str) -> None:
    """Each way around the reader is found."""
    assert expected in list(other_ways_to_records("api.cdr", source))


@pytest.mark.parametrize("module", ["jobs.making", "admin.users", "transport.replies"])
def test_nobody_beside_the_reader_asks_a_store(module: str) -> None:
    """Neither do jobs, verbs and what lies below the routes."""
    assert [f"{module} asks a store for walk"] == list(other_ways_to_records(module, "node.store.walk(query, 1)"))


def test_there_is_one_clock() -> None:
    """What time it is, every module asks `clock`, so that all agree and a test can set it."""
    assert [] == everywhere(other_clocks)


@pytest.mark.parametrize("source", ["time.time_ns() // 1_000", "int(time.time())", "datetime.now(UTC)", "date.today()"])
def test_another_clock_is_seen(source: str) -> None:
    """Each way to ask the time is found, but in the clock itself."""
    assert 1 == len(list(other_clocks("node", source)))
    assert [] == list(other_clocks("clock", source))


@pytest.mark.parametrize("engine", ENGINES)
def test_one_file_knows_an_engine(engine: str) -> None:
    """Exactly one file of a store imports an engine."""
    users = [
        module_name(path)
        for path in sources(f"src/{PACKAGE}")
        if engine in {name.split(".")[0] for name in imports(path.read_text())}
    ]
    assert len(ENGINES[engine]) == len(users), users
    assert all(within(user, (layer,)) for user, layer in zip(sorted(users), ENGINES[engine], strict=True)), users


def test_an_engine_is_named_in_its_folder_alone() -> None:
    """Neither code nor comment of another module knows which engines there are."""

    def named(module: str, source: str) -> list[str]:
        found = [] if within(module, tuple(MAY_NAME_ENGINES)) else NAMES_OF_ENGINES.findall(source)
        return [f"{module} names {name}" for name in found]

    assert [] == everywhere(named)


@pytest.mark.parametrize("module", MAY_NAME_ENGINES)
def test_no_module_may_name_engines_that_does_not(module: str) -> None:
    """Each exception is needed."""
    named = [path for path in sources(f"src/{PACKAGE}") if within(module_name(path), (module,))]
    assert any(NAMES_OF_ENGINES.search(path.read_text()) for path in named)


def test_a_part_is_small_and_says_what_it_is() -> None:
    """Every module has a docstring and at most 700 lines, every function at most 70."""
    paths = sources("src", "tests", "bench", "docs")
    assert [] == [f"{path.relative_to(ROOT)}: {what}" for path in paths for what in oversize(path.read_text())]


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("records.record", "from calldex import errors", "records.record imports something of ours"),
        ("records.record", "import calldex.records.fields", "records.record imports something of ours"),
        ("formats.jsonl", "from calldex.store.sql import select", "formats.jsonl imports store.sql"),
        ("formats", "def f():\n    from calldex import ingest", "formats imports ingest"),
        ("search.query", "from os import environ", "search.query imports os"),
        ("records.codec", "import pathlib", "records.codec imports pathlib"),
        ("store.sql", "if True:\n    import duckdb as d", "store.sql imports duckdb"),
        ("access", "from sqlalchemy.engine import Engine", "access imports sqlalchemy"),
        ("ingest.pipeline", "from starlette.requests import Request", "ingest.pipeline imports starlette"),
        ("demo", "from calldex import api", "demo imports api"),
        ("search.page", "from calldex.api.app import app", "search.page imports api.app"),
        ("search.page", "from calldex.transport.replies import JSON", "search.page imports transport.replies"),
        ("transport.replies", "from calldex.api.cdr import CdrPages", "transport.replies imports api.cdr"),
    ],
)
def test_a_wrong_arrow_is_seen(module: str, source: str, expected: str) -> None:
    """Each rule finds an import that breaks it, wherever in the module it stands."""
    assert expected in list(wrong_arrows(module, source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("records.record", "import hashlib\nimport msgspec"),
        ("formats.jsonl", "from calldex.records.record import Cdr"),
        ("search.query", "from calldex.records.fields import FIELDS"),
        ("store.embedded.columns", "import duckdb"),
        ("api.app", "from starlette.routing import Route\nfrom calldex.api import lookups"),
        ("cli", "from calldex.api.app import build"),
        ("apiary", "import os"),
    ],
)
def test_a_right_arrow_is_let_through(module: str, source: str) -> None:
    """The rules refuse nothing that the layers allow."""
    assert [] == list(wrong_arrows(module, source))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1\n", ["no docstring"]),
        ('"""."""\n' * 701, ["701 lines"]),
        ('"""."""\n' * 700, []),
        ('"""."""\n\n\nasync def f():\n' + "    pass\n" * 70, ["f has 71 lines"]),
        ('"""."""\n\n\nclass C:\n    def f():\n' + "        pass\n" * 69, []),
    ],
)
def test_oversize_is_seen(source: str, expected: list[str]) -> None:
    """A module or function that is one line too long is found, one that is just long enough is not."""
    assert expected == list(oversize(source))
