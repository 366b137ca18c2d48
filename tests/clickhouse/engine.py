"""ClickHouse's engine as a server of its own: a process that owns one folder of chDB's and speaks HTTP on loopback.

`python -m tests.clickhouse.engine FOLDER` takes `USER:PASSWORD` as the first line of its input, writes its port, and
ends with its input. Each request has a chDB connection of its own, so that settings and databases stay apart. It knows
what Calldex's client needs and no more: no sessions, no progress, no user but one.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final
from uuid import uuid4

import chdb

from tests.clickhouse.wire import Handler, Server, error, kind, packed, parameters, statement, unpacked

TRANSPORT: Final = frozenset(
    (
        *("query", "database", "query_id", "default_format", "wait_end_of_query", "enable_http_compression"),
        *("client_protocol_version", "send_progress_in_http_headers", "http_headers_progress_interval_ms"),
    )
)
"""Parameters of a request that are no settings of the engine."""
STATUS: Final = {
    **dict.fromkeys((27, 36, 41, 53, 62, 69, 72, 117), 400),
    **dict.fromkeys((192, 193, 497, 516), 403),
    **dict.fromkeys((46, 47, 50, 60, 73, 81, 115), 404),
    48: 501,
    159: 408,
    209: 503,
    439: 503,
}
"""The HTTP status of an error; 500 of any other (`exceptionCodeToHTTPStatus.cpp`)."""
LONGEST: Final = 1 << 17
"""Bytes of a parameter (`http_max_field_value_size`)."""
_CODE: Final = re.compile(r"Code: (\d+)\. DB::Exception: (.*)", re.DOTALL)
_FORMAT: Final = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_WITH_DATA: Final = re.compile(
    rb"(\s*INSERT\s+INTO\s+.*?)(\sSETTINGS\s.*?)?\sFORMAT\s+(\w+)[ \t]*(?:\n|$)", re.IGNORECASE | re.DOTALL
)


class Failed(Exception):
    """The engine refused something: its code and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Engine(Server):
    """The server and its engine, which stays open."""

    def __init__(self, folder: Path, credentials: str) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.folder = folder
        self.credentials = f"Basic {b64encode(credentials.encode()).decode()}"
        self.kept_open = self.connected()

    def connected(self) -> chdb.state.Connection:
        """Another connection to it."""
        return chdb.connect(str(self.folder))  # type: ignore[no-untyped-call]  # the library says nothing of it

    def run(self, sql: bytes, given: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
        """What a statement gives, and what the headers tell of it."""
        bound = {name.removeprefix("param_"): value for name, value in given.items() if name.startswith("param_")}
        settings = {
            name: value for name, value in given.items() if name not in TRANSPORT | {f"param_{n}" for n in bound}
        }
        if (longest := max(len(value.encode()) for value in (*given.values(), ""))) > LONGEST:
            raise Failed(1000, f"Field value of {longest} bytes is too long")
        given_format = _FORMAT.search(sql[-200:])
        form = given_format[1].decode() if given_format else given.get("default_format", "TabSeparated")
        try:
            with closing(self.connected()) as connection:
                if given.get("database"):
                    connection.query(f"USE {_quoted(given['database'], '`')}")
                for name, value in settings.items():
                    connection.query(f"SET {_quoted(name, '`')} = {_quoted(value)}")
                if with_data := _WITH_DATA.match(sql):
                    result = _insert(connection, with_data, sql[with_data.end() :])
                else:
                    result = connection.query(sql.decode(), form, params=bound)
        except RuntimeError as refused:
            told = _CODE.search(str(refused))
            raise (Failed(int(told[1]), told[2]) if told else Failed(1002, str(refused))) from None
        done = "written" if kind(sql) == "insert" else "read"
        summary = {f"{done}_rows": str(result.rows_read()), f"{done}_bytes": str(result.bytes_read())}
        headers = {"X-ClickHouse-Summary": json.dumps(summary)}
        if kind(sql) == "read":
            headers["X-ClickHouse-Format"] = form
        return result.bytes() or b"", headers


def _quoted(text: str, quote: str = "'") -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, f"\\{quote}") + quote


def _insert(connection: chdb.state.Connection, head: re.Match[bytes], data: bytes) -> chdb.query_result:
    """Insert what follows a statement: chDB takes it from a file."""
    into, settings, form = (part.decode() for part in head.groups(b""))
    with NamedTemporaryFile(suffix=".data") as file:
        file.write(data)
        file.flush()
        return connection.query(f"{into} FROM INFILE {_quoted(file.name)}{settings} FORMAT {form}", "TabSeparated")


class Requests(Handler):
    """Answers what the client asks."""

    server: Engine

    def do_GET(self) -> None:  # noqa: N802 - the base class names it
        """`/ping` for anybody; else a query."""
        if self.path == "/ping":
            self.reply(200, {"Content-Type": "text/html; charset=UTF-8"}, b"Ok.\n")
        else:
            self.do_POST()

    def do_POST(self) -> None:  # noqa: N802 - the base class names it
        """A query, for the one user."""
        sent = self.body()
        given, body = parameters(self.path, self.headers.get("Content-Type", ""), sent)
        headers = {
            "X-ClickHouse-Query-Id": given.get("query_id") or str(uuid4()),
            "X-ClickHouse-Server-Display-Name": "chdb",
            "X-ClickHouse-Timezone": "UTC",
        }
        try:
            if self.headers.get("Authorization") != self.server.credentials:
                raise Failed(516, "Authentication failed: password is incorrect, or there is no user with such name.")
            sql = statement(given, unpacked(body, self.headers.get("Content-Encoding", "")))
            answer, told = self.server.run(sql, given)
            status = 200
        except Failed as failed:
            told, answer = error(failed.code, failed.text)
            status = STATUS.get(failed.code, 500)
        if given.get("enable_http_compression") == "1":
            answer, encoded = packed(answer, self.headers.get("Accept-Encoding", ""))
            told |= encoded
        self.reply(status, headers | told, answer)


def main() -> None:
    """Serve until the input ends."""
    engine = Engine(Path(sys.argv[1]), sys.stdin.readline().strip())
    threading.Thread(target=engine.serve_forever, daemon=True).start()
    sys.stdout.write(f"{engine.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
