"""A host of the cluster: a process with a port of its own that hands requests to the engine, and fails when told to.

`python -m tests.clickhouse.front PORT ENGINE_PORT` ends with its input. A line of the input is a JSON list of `Fault`
that replaces the one before; each is answered by a line that says how many requests were hit by faults so far. A fault
hits a request before the engine has it, when the engine has done the work and nothing is sent yet, or in the middle of
the reply.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from typing import Final, Literal

import msgspec

from tests.clickhouse.wire import Handler, Server, error, kind, parameters, statement, unpacked

PATIENCE_S: Final = 60.0
_OF_THE_CONNECTION: Final = frozenset(("connection", "transfer-encoding", "content-length", "host", "server", "date"))

Moment = Literal["before", "after", "within"]
Kind = Literal["read", "insert", "change", "ping"]
ALL: Final[tuple[Kind, ...]] = ("read", "insert", "change", "ping")


class Fault(msgspec.Struct):
    """What goes wrong.

    `cut` resets the connection, `stop` stops this process (SIGSTOP) and `die` kills it (SIGKILL), `answer` replies
    with a status and with an error's code and text, `delay` goes on after some seconds. It hits requests of the kinds
    `of`, and as many as `times` says.
    """

    action: Literal["cut", "stop", "die", "answer", "delay"]
    moment: Moment = "before"
    of: tuple[Kind, ...] = ALL
    times: int = 1_000_000_000
    seconds: float = 0.0
    status: int = 500
    code: int = 0
    text: str = ""


def answering(code: int, text: str, of: tuple[Kind, ...], times: int = 1_000_000_000) -> Fault:
    """The host answers such requests with an error of ClickHouse's."""
    return Fault(action="answer", code=code, text=text, of=of, times=times)


READ_ONLY: Final = answering(242, "Table is in readonly mode. (TABLE_IS_READ_ONLY)", ("insert", "change"))
TOO_MANY_PARTS: Final = answering(
    252, "Too many parts (3000). Merges are processing significantly slower than inserts. (TOO_MANY_PARTS)", ("insert",)
)


class Front(Server):
    """The host, and the faults it has."""

    def __init__(self, port: int, engine_port: int) -> None:
        super().__init__(("127.0.0.1", port), Requests)
        self.engine_port = engine_port
        self.faults: Sequence[Fault] = ()
        self.hit = 0
        self.lock = threading.Lock()

    def fault(self, of: str, moment: Moment) -> Fault | None:
        """What hits such a request now."""
        with self.lock:
            for fault in self.faults:
                if of in fault.of and fault.moment == moment and fault.times:
                    fault.times -= 1
                    self.hit += 1
                    return fault
        return None


class Requests(Handler):
    """Hands each request to the engine, unless a fault says otherwise."""

    server: Front

    def do_GET(self) -> None:  # noqa: N802 - the base class names it
        """Hand it on."""
        self.do_POST()

    def do_POST(self) -> None:  # noqa: N802 - the base class names it
        """Hand it on."""
        body = self.body()
        of = self._kind(body)
        if self._ended("before", of):
            return
        engine = HTTPConnection("127.0.0.1", self.server.engine_port, timeout=PATIENCE_S)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_CONNECTION}
        engine.request(self.command, self.path, body, headers)
        reply = engine.getresponse()
        status, answer = reply.status, reply.read()
        told = {name: value for name, value in reply.getheaders() if name.lower() not in _OF_THE_CONNECTION}
        engine.close()
        if self._ended("after", of):
            return
        if fault := self.server.fault(of, "within"):
            self.reply(status, told, answer, half=True)
            self._ends(fault)
        else:
            self.reply(status, told, answer)

    def _kind(self, body: bytes) -> str:
        if self.path == "/ping":
            return "ping"
        given, rest = parameters(self.path, self.headers.get("Content-Type", ""), body)
        return kind(statement(given, unpacked(rest, self.headers.get("Content-Encoding", ""))))

    def _ended(self, moment: Moment, of: str) -> bool:
        fault = self.server.fault(of, moment)
        return fault is not None and self._ends(fault)

    def _ends(self, fault: Fault) -> bool:
        """Do what a fault says; whether that was all that becomes of the request."""
        if fault.action == "delay":
            time.sleep(fault.seconds)
            return False
        if fault.action == "answer":
            self.reply(fault.status, *error(fault.code, fault.text))
            return True
        if fault.action == "cut":
            self.cut()
            return True
        # To this thread, which then takes no further step; the others go with it.
        signal.pthread_kill(threading.get_ident(), signal.SIGKILL if fault.action == "die" else signal.SIGSTOP)
        return False


def main() -> None:
    """Serve until the input ends."""
    front = Front(*map(int, sys.argv[1:3]))
    threading.Thread(target=front.serve_forever, daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        with front.lock:
            front.faults = msgspec.json.decode(line, type=list[Fault])
            hit = front.hit
        sys.stdout.write(f"{hit}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
