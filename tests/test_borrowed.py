"""What is borrowed from libraries: declared, each with its reason, and what is none of their API is still as it was."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
import tomllib
from asyncio import sslproto
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, Final

import pytest
import uvicorn
from authlib.integrations.starlette_client import StarletteIntegration
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from calldex.api import server
from calldex.transport import protocol

ROOT: Final = Path(__file__).parents[1]
LIBRARIES: Final = ROOT / "docs" / "decisions" / "0010-libraries.md"
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
OURS: Final = frozenset(("calldex", "tests", "bench", "docs", "connectors", "feeder", "web"))
HTTP_CLIENTS: Final = frozenset(("httpx", "httpx2", "requests", "aiohttp", "niquests"))
BORROWED: Final = ("uvicorn", "authlib", "starlette", "duckdb")
"""Those of which parts are used that may change without notice."""


def names(*requirements: list[str]) -> set[str]:
    """The distributions that these are."""
    return {canonicalize_name(Requirement(each).name) for listed in requirements for each in listed}


RUN: Final = names(PROJECT["project"]["dependencies"])
EXTRA: Final = names(*PROJECT["project"]["optional-dependencies"].values())
DEV: Final = names(PROJECT["dependency-groups"]["dev"], PROJECT["dependency-groups"]["build"])


def imported(*folders: str) -> Iterator[tuple[str, str]]:
    """The modules that files of these folders import, by their first names, and the file."""
    for folder in folders:
        yield from imported_in(folder)


@cache
def imported_in(folder: str) -> list[tuple[str, str]]:
    """The same of one folder."""
    every = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        if "node_modules" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            found = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                found.append(node.module)
            every += [(name.partition(".")[0], str(path.relative_to(ROOT))) for name in found]
    return every


@pytest.mark.parametrize(
    ("folders", "declared"), [(("src",), RUN | EXTRA), (("src", "tests", "bench", "docs"), RUN | EXTRA | DEV)]
)
def test_what_is_imported_is_declared(folders: tuple[str, ...], declared: set[str]) -> None:
    """Nothing is imported that is installed only since something else needs it."""
    by_module = packages_distributions()
    undeclared = {
        (name, path)
        for name, path in imported(*folders)
        if name not in OURS | sys.stdlib_module_names | {"_pytest"}
        and not {canonicalize_name(each) for each in by_module.get(name, [name])} & declared
    }
    assert set() == undeclared


def test_there_is_one_http_client() -> None:
    """The service, its commands, its client library and its copies ask by the same one."""
    assert {"httpx2"} == {name for name, _ in imported("src") if name in HTTP_CLIENTS}


def test_every_library_has_its_reason() -> None:
    """Decision 0010 names each of them."""
    text = LIBRARIES.read_text().lower()
    named = {canonicalize_name(word) for word in re.findall(r"[a-z0-9][a-z0-9_.-]*", text)}
    assert set() == {name for name in RUN | EXTRA | DEV if name not in named}


def test_every_reason_has_its_library() -> None:
    """Decision 0010 names none that is not used any more, and says of those of an extra that they are."""
    text = LIBRARIES.read_text()
    for row in re.findall(r"^\| (?!-|for )(.+) \| .+ \|$", text, re.MULTILINE):
        purpose, _, libraries = row.partition(" | ")
        named = {canonicalize_name(each.split()[0]) for each in libraries.split(", ") if each != "an extra"}
        assert set() == named - (EXTRA if "an extra" in row else RUN), purpose
    assert set() == {each for each in re.findall(r"pytest-\w+", text) if canonicalize_name(each) not in DEV}


@pytest.mark.parametrize("name", BORROWED)
def test_what_may_change_is_bounded(name: str) -> None:
    """A version that may be another thing altogether is not taken by itself."""
    (found,) = (each for each in map(Requirement, PROJECT["project"]["dependencies"]) if each.name == name)
    assert {">=", "<"} == {each.operator for each in found.specifier}


def own(kind: type) -> set[str]:
    """What a class of ours defines, its attributes included."""
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind)))
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return found | {each for each, stored in uses(tree) if stored}


def uses(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """The attributes of `self`, and whether they are given a value; those of `super()` as not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                yield node.attr, isinstance(node.ctx, ast.Store)
            elif isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "super":
                yield node.attr, False


def attributes(kind: type) -> set[str]:
    """What a class of a library has, its attributes included."""
    return set(dir(kind)) | {
        each for base in kind.__mro__[:-1] for each in own(base) if base.__module__.startswith("uvicorn")
    }


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (protocol.BoundedHttp, HttpToolsProtocol),
        (server._Server, uvicorn.Server),  # noqa: SLF001 - what runs
        (server._PublicServer, uvicorn.Server),  # noqa: SLF001 - likewise
    ],
)
def test_uvicorn_has_what_is_used_of_it(kind: type, base: type) -> None:
    """Every attribute and method that our classes take from its, and every one that they override, is there, and
    takes what it took."""
    tree = ast.parse(inspect.getsource(kind))
    mine = {name for each in kind.__mro__ if each.__module__.startswith("calldex") for name in own(each)}
    used = {name for name, _ in uses(tree)} - mine
    assert set() == used - attributes(base)
    supers = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Call)
        and getattr(node.value.func, "id", "") == "super"
    }
    assert set() == supers - set(dir(base))


OVERRIDDEN: Final = {
    HttpToolsProtocol: {
        "connection_made": ["transport"],
        "connection_lost": ["exc"],
        "data_received": ["data"],
        "on_message_begin": [],
        "on_header": ["name", "value"],
        "on_headers_complete": [],
        "on_message_complete": [],
        "on_response_complete": [],
        "send_400_response": ["msg"],
        "pause_writing": [],
        "resume_writing": [],
        "timeout_keep_alive_handler": [],
    },
    uvicorn.Server: {"startup": ["sockets"], "capture_signals": [], "serve": ["sockets"]},
}


@pytest.mark.parametrize("kind", OVERRIDDEN)
def test_uvicorn_calls_what_is_overridden(kind: type[Any]) -> None:
    """By these names, with these arguments."""
    wanted = OVERRIDDEN[kind]
    assert wanted == {name: list(inspect.signature(getattr(kind, name)).parameters)[1:] for name in wanted}


def test_below_tls_asyncio_has_a_transport() -> None:
    """What of a reply lies there is found by way of `_ssl_protocol` and `_transport`; without them slow clients that
    come by TLS would go unnoticed."""
    assert "_ssl_protocol" in own(sslproto._SSLProtocolTransport)  # noqa: SLF001 - that is the point
    assert "_transport" in own(sslproto.SSLProtocol)


def test_authlib_finds_what_was_begun() -> None:
    """In a session, under the name that `Provider.finish` gives it."""
    session = {"_state_main_s": {"data": {"nonce": "n"}}}
    assert {"nonce": "n"} == asyncio.run(StarletteIntegration("main").get_state_data(session, "s"))
