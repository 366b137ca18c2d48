"""Nothing grows faster than its input: every entry through which a stranger's bytes come in, measured in processor
time. A new entry is a line of `ENTRIES`."""

from __future__ import annotations

import gzip
import importlib
import inspect
import json
import pkgutil
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import product
from typing import Any, Final

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request

import calldex
from calldex.access import Mask, Scope
from calldex.access.masking import Own, masked, masked_label, masked_name, masked_text
from calldex.api import ingest
from calldex.audit.chain import searched
from calldex.directory.model import TeamChanges, UserChanges
from calldex.directory.people_csv import take_teams, take_users
from calldex.errors import CalldexError
from calldex.formats import asterisk, jsonl
from calldex.inputs import from_json
from calldex.networks import Networks
from calldex.records import codec
from calldex.records.fields import FILTERS
from calldex.records.record import CallRow, Cdr, Event, Leg, canonical, from_ms
from calldex.search.query import PAGES, parse
from calldex.search.token import KEY_BYTES, Sealer
from calldex.transport.cookies import SESSION, cookie_of, refuse_foreign
from calldex.transport.proxies import forwarded
from calldex.transport.replies import coding_for, tag_matches
from calldex.transport.requests import query_pairs
from tests.formats.tools import PLAIN
from tests.formats.tools import line as cdr_line
from tests.growth import MOST, growth

pytestmark = pytest.mark.slow

SCOPE: Final = Scope(account_id=1, whole=True)
RECORD: Final = '{"uuid":"01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44","type":"inbound","disposition":"answered",'
RECORD_END: Final = '"timestamp":"2026-07-03T08:00:00Z","duration_s":1}'

ATOMS: Final = (
    *("\\", '"', "'", " ", "\t", "\n", ",", ";", "=", ":", "T", "Z", "0", "9", "a", "A", "x", "-", ".", "/", "@", "+"),
    *(
        "(",
        ")",
        "[",
        "]",
        "<",
        ">",
        "%",
        "|",
        "\u00a0",
        "\u0664",
        "\u00e9",
        "\u200b",
        "*",
        "_",
        "#",
        "!",
        "&",
        "{",
        "}",
    ),
    *(
        "T ",
        "a.",
        "a-",
        "-a",
        "a1",
        "1a",
        "1 ",
        " 1",
        "ab",
        "0:",
        "1.",
        '"a',
        '\\"',
        "\\\\",
        "\\u",
        "a@",
        "=;",
        '",',
        "a=",
    ),
    *("a" * 8 + "-", "1" * 7 + "x", "T0 00:0", "<a", '"<', "1-1", "\\ud800", "f0", "0f"),
)
"""What texts that hurt are made of, again and again."""


def request(**headers: str) -> Request:
    """A request with these headers."""
    listed = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/", "query_string": b"", "headers": listed}
    return Request({**scope, "server": ("calldex.test", 80)})


def refused(work: Callable[[Any], object]) -> Callable[[Any], object]:
    """The same, where what it is given may be refused."""

    def done(given: Any) -> None:
        with suppress(CalldexError, ValueError):
            work(given)

    return done


def repeated(atom: str, begin: str = "", end: str = "") -> Callable[[int], str]:
    """Texts of one piece, again and again."""
    return lambda size: begin + atom * (size // len(atom)) + end


def members(of: Callable[[int], str]) -> Callable[[int], bytes]:
    """JSON objects of so many members."""
    return lambda size: ("{" + ",".join(f'"{of(n)}":1' for n in range(size)) + "}").encode()


NUMBERS: Final = Mask(numbers=True, match=False)


def numbered(size: int, number: Callable[[int], str]) -> bytes:
    """The JSON of a record with so many legs and events, of which each has numbers and texts of its own."""
    when = from_ms(0)
    return codec.encode(
        canonical(
            Cdr(
                uuid="01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44",
                type="inbound",
                disposition="answered",
                started_at=when,
                duration_s=1,
                legs=tuple(
                    Leg(started_at=when, from_=number(at), to=number(at + size), channel=f"SIP/{number(at)}-1")
                    for at in range(size)
                ),
                events=tuple(
                    Event(type="hold", at=when, number=number(at + 2 * size), detail=f"of {number(at)}")
                    for at in range(size)
                ),
            )
        )
    )


SEALER: Final = Sealer(b"k" * KEY_BYTES, "store")


QUEUE_ROW: Final = b"1782900000|1782900000.1|sales|PJSIP/a|CONNECT|10|1782900000.2|5\n"


def reading(read: Callable[[Iterable[bytes], Any], Iterable[object]], known: Any) -> Callable[[Any], object]:
    """Read what a format makes of a stream, and keep none of it."""
    return lambda chunks: deque(read(chunks, known), maxlen=0)


JSONL: Final = reading(jsonl.FORMAT.read, jsonl.JsonlSettings())
ASTERISK: Final = reading(asterisk.FORMAT.rows, PLAIN)


def assembled(data: bytes) -> object:
    """The one call that lines of Asterisk's files are."""
    rows = [row for row in asterisk.FORMAT.rows([data], PLAIN) if isinstance(row, CallRow)]
    return asterisk.FORMAT.assemble(rows, PLAIN, "pbx")


def query(given: str) -> None:
    """A search by every parameter with this text."""
    for name in (
        *(each.name for each in FILTERS),
        "start_date",
        "end_date",
        "timezone",
        "page",
        "per_page",
        given[:200],
    ):
        with suppress(CalldexError):
            parse([(name, given)], SCOPE, "UTC")


INFLATED, PIECES = ingest._inflated, ingest._pieces  # noqa: SLF001 - what reads bodies
ENTRIES: Final[dict[str, tuple[Callable[[int], Any], Callable[[Any], object], int]]] = {
    "a cookie of backslashes in quotes": (
        lambda size: request(cookie=f'{SESSION}="' + "\\" * size + '"'),
        lambda r: cookie_of(r, SESSION),
        30_000,
    ),
    "cookies": (lambda size: request(cookie="a=b;" * size), lambda r: cookie_of(r, SESSION), 5_000),
    "origins": (lambda size: request(origin="h" * size), refused(lambda r: refuse_foreign(r, proven=False)), 10_000),
    "dates of many T": (repeated("T"), query, 20_000),
    "parameters": (
        lambda size: _asked("a=1&" * size),
        refused(query_pairs),
        5_000,
    ),
    "tags": (repeated('"'), lambda text: tag_matches(text, "tag"), 20_000),
    "encodings": (repeated("gzip;q=0"), coding_for.__wrapped__, 20_000),
    "forwarded": (
        lambda size: Headers({"forwarded": 'for="' * size, "x-forwarded-for": "1," * size}),
        refused(lambda headers: forwarded("127.0.0.1", headers, Networks("127.0.0.0/8"))),
        5_000,
    ),
    "tokens": (repeated("A"), refused(SEALER.unseal), 20_000),
    "what the audit notes": (
        repeated("1,"),
        lambda text: searched([(f.name, text) for f in FILTERS], PAGES.own),
        5_000,
    ),
    "members that come twice": (members(lambda n: f"a{n // 2}"), refused(lambda b: from_json(b, TeamChanges)), 1_250),
    "members that are not known": (members(lambda n: f"a{n}"), refused(lambda b: from_json(b, UserChanges)), 5_000),
    "lists in members": (
        lambda size: json.dumps({"groups": ["g"] * size, "skills": ["s"] * size}).encode(),
        refused(lambda body: from_json(body, UserChanges).problems()),
        5_000,
    ),
    "e-mail addresses": (
        lambda size: UserChanges(email="a@" + "a-" * size),
        lambda changes: list(changes.problems()),
        20_000,
    ),
    "a CSV header of many columns": (
        lambda size: b"x," * size,
        refused(lambda text: take_users(text, lambda *_: "added")),
        20_000,
    ),
    "a CSV file of quotes": (
        lambda size: b'name\n"' + b'""' * size,
        refused(lambda text: take_teams(text, lambda *_: "added")),
        20_000,
    ),
    "a CSV file of wrong lines": (
        lambda size: b"name,id\n" + b"a,b\n" * size,
        refused(lambda text: take_teams(text, lambda *_: "added")),
        5_000,
    ),
    "gzip members": (lambda size: gzip.compress(b"") * size, refused(INFLATED), 2_000),
    "gzip of little": (
        lambda size: gzip.compress(b" " * 1_000 * size, 1)[:-4],
        refused(INFLATED),
        7_000,
    ),
    "an array of little": (
        lambda size: b"[" + b"0," * size + b"0]",
        refused(lambda body: PIECES(body, "application/json")),
        4_000,
    ),
    "an array of halves": (
        lambda size: b'["' + b'\\ud800","' * size + b'"]',
        refused(lambda body: PIECES(body, "application/json")),
        4_000,
    ),
    "lines": (
        lambda size: b"{}\n" * size,
        refused(lambda body: PIECES(body, "application/jsonl")),
        4_000,
    ),
    "JSON Lines of records": (lambda size: [f"{RECORD}{RECORD_END}\n".encode() * size], JSONL, 400),
    "JSON Lines of nothing": (lambda size: [b"{}\n\n" * size], JSONL, 1_000),
    "a JSON line cut among halves": (lambda size: [b'{"a":"' + b"\\ud800" * size], JSONL, 3_000),
    "a line in many pieces": (lambda size: [b"a" * 8] * size, JSONL, 5_000),
    "rows of Master.csv": (lambda size: [cdr_line() * size], ASTERISK, 200),
    "a row of Master.csv of many columns": (lambda size: [b'"a",' * size + b"\n"], ASTERISK, 5_000),
    "a value of Master.csv of quotes": (lambda size: [cdr_line(lastdata='"' * size)], ASTERISK, 20_000),
    "quotes of Master.csv that are never closed": (lambda size: [b'"a\n' * size], ASTERISK, 2_000),
    "rows of queue_log": (lambda size: [QUEUE_ROW * size], ASTERISK, 400),
    "a row of queue_log of many values": (
        lambda size: [QUEUE_ROW[:-1] + b"|10" * size + b"\n"],
        ASTERISK,
        5_000,
    ),
    "lines of a file of another kind": (lambda size: [b"EventTime,EventType,x\n" * size], ASTERISK, 500),
    "a header over rows of Master.csv": (
        lambda size: [b"channel,dstchannel,disposition" + b",x" * size + b",dst" * size + b"\n"],
        ASTERISK,
        2_500,
    ),
    "a call of many paths": (
        lambda size: b"".join(
            cdr_line(channel=f"PJSIP/a{at}-{at:08x}", dstchannel=f"PJSIP/a{at + 1}-{at + 1:08x}", sequence=str(at))
            for at in range(size)
        ),
        assembled,
        200,
    ),
    "a call of many visits to queues": (
        lambda size: b"".join(
            b"%d|1782900000.10|q%d|PJSIP/a|%s|1|2|3\n" % (1_782_900_000 + at, at, event)
            for at in range(size)
            for event in (b"ENTERQUEUE", b"CONNECT")
        ),
        assembled,
        200,
    ),
    "a record of unknown members": (
        lambda size: (RECORD + "".join(f'"a{n}":1,' for n in range(size)) + RECORD_END).encode(),
        lambda line: codec.decode(line, ""),
        5_000,
    ),
    "a record of events": (
        lambda size: (
            RECORD + '"events":[' + ",".join(['{"type":"HOLD","at":"2026-07-03T08:00:00Z"}'] * size) + "]," + RECORD_END
        ).encode(),
        lambda line: codec.decode(line, ""),
        450,
    ),
    "a mask over many numbers of one record": (
        lambda size: numbered(size, lambda at: f"4477{at:08}"),
        lambda json_: masked(json_, NUMBERS),
        450,
    ),
    "a mask over many words of one record": (
        lambda size: numbered(size, lambda at: f"alice{at}@pbx"),
        lambda json_: masked(json_, NUMBERS),
        450,
    ),
    **{
        f"a mask over a text of {text!r} again and again": (
            repeated(text),
            lambda given: masked_text(given, Own(("447700900412", "sip:1@a", "alice"))),
            5_000,
        )
        for text in (
            *("1", "4477", "1 ", "+1 (", "a1", "alic", "sip:", "\u0664", "12:00", "01980c1e-", "\u200b"),
            "447700900412",
        )
    },
    "a mask over a name": (repeated("1-2"), lambda given: masked_name(given, Own(("447700900412",))), 5_000),
    "a mask over a label": (repeated("1-2"), masked_label.__wrapped__, 5_000),
    "a record of nothing but brackets": (
        lambda size: (RECORD + '"custom":' + "[" * size).encode(),
        lambda line: codec.decode(line, ""),
        5_000,
    ),
}


def _asked(query_string: str) -> Request:
    made = request()
    made.scope["query_string"] = query_string.encode()
    return made


@pytest.mark.parametrize("entry", ENTRIES)
def test_twice_the_input_takes_twice_as_long(entry: str) -> None:
    """At every entry, of what is known to hurt most there."""
    make, work, size = ENTRIES[entry]
    # Other work of the machine can only make it look worse: what is linear shows it in one of five tries.
    assert any(growth(make, work, size) <= MOST for _ in range(5))


def modules() -> Iterator[Any]:
    """Every module of Calldex that can be imported here."""
    for found in pkgutil.walk_packages(calldex.__path__, "calldex."):
        if not found.name.endswith("__main__") and ".migrations" not in found.name:
            yield importlib.import_module(found.name)


def patterns() -> dict[str, re.Pattern[Any]]:
    """Every pattern that a module has, by where it stands."""
    return {
        f"{module.__name__}.{name}": value
        for module in modules()
        for name, value in vars(module).items()
        if isinstance(value, re.Pattern)
    }


PATTERNS: Final = patterns()
LONG: Final = 5_000
_AT_ONCE_S: Final = 0.02
"""What grows with the square of such a text takes longer than this."""


def is_looked_for(name: str) -> bool:
    """Whether a pattern is looked for anywhere in texts, and not only compared with the whole of them."""
    module, _, variable = name.rpartition(".")
    source = inspect.getsource(importlib.import_module(module))
    return re.search(rf"\b{variable}\.(?:search|sub|findall|finditer|split)\b", source) is not None


@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_grows_faster_than_its_text(name: str) -> None:
    """Of whatever a text is made again and again, and wherever in it a pattern is looked for."""
    pattern = PATTERNS[name]
    uses = (pattern.search, pattern.fullmatch) if is_looked_for(name) else (pattern.fullmatch,)
    coded = str.encode if isinstance(pattern.pattern, bytes) else str
    slow = []
    for atom, begin in product(ATOMS, ("", "T", '"', "a@", "1", "00")):
        make = repeated(atom, begin, "\x00")

        def made(size: int, make: Callable[[int], str] = make) -> Any:
            return coded(make(size))

        def tried(text: Any) -> None:
            for use in uses:
                use(text)

        text = made(LONG)
        began = time.thread_time()
        tried(text)
        if time.thread_time() - began > _AT_ONCE_S and growth(made, tried, LONG) > MOST:
            slow.append((begin, atom))
    assert [] == slow
