"""What a process does once before it opens a node: logs go to standard error, the collector of garbage rests more."""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final

import msgspec
import structlog
from structlog.typing import EventDict

import calldex
from calldex.settings import Origin, Settings
from calldex.texts import without_keys

TOGETHER_S: Final = 0.05
"""How long lines wait for others to be written with."""
MOST_LINES: Final = 10_000
"""So many wait at most."""
_AMBIGUOUS: Final = re.compile(r"[^!#-&(-<>-~]")
_ENCODE: Final = msgspec.json.Encoder(enc_hook=repr).encode


def prepare(settings: Settings, origins: Mapping[str, Origin], *, serving: bool) -> None:
    """Set up logging and memory. A command that does not serve says itself what went wrong: it logs faults alone,
    unless a level was chosen."""
    from calldex.ingest.workers import GC_THRESHOLDS

    quiet = not serving and origins["log_level"] == "default"
    log_to_stderr(settings.log_format, "error" if quiet else settings.log_level, serving=serving)
    if serving:
        data, version = str(settings.data), calldex.__version__
        structlog.get_logger(__name__).info("starting", version=version, data=data, process=os.getpid())
    # `gc.freeze` is no help: what is frozen is not torn down at exit, and the bindings of the query engine complain.
    gc.set_threshold(*GC_THRESHOLDS)


class _Stderr:
    """Writes finished log lines to standard error, whatever that is at the time; without the keys in them."""

    def msg(self, line: str) -> None:
        sys.stderr.write(without_keys(line) + "\n")
        sys.stderr.flush()

    debug = info = warning = error = exception = critical = msg


class _Together(_Stderr):
    """Of a server: what is no warning is written by a thread, all lines of a moment at once, so that no request waits
    for whoever reads the log. Nothing is lost when the process ends by itself or by a signal that it handles."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._some = threading.Event()
        self._writing = threading.Lock()
        atexit.register(self._write)
        sys.excepthook = self._end
        threading.Thread(target=self._keep_writing, name="log", daemon=True).start()

    def _keep_writing(self) -> None:
        while self._some.wait():
            time.sleep(TOGETHER_S)
            self._some.clear()
            self._write()

    def _write(self) -> None:
        with self._writing:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if lines:
                super().msg("\n".join(lines))

    def _end(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        """Tell what ended the process behind all lines, and not within one."""
        self._write()
        with self._writing:
            sys.__excepthook__(kind, error, traceback)

    def msg(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) >= MOST_LINES:  # whoever reads is too slow for as many
            self._write()
        elif not self._some.is_set():
            self._some.set()

    def warning(self, line: str) -> None:
        self._lines.append(line)
        self._write()

    debug = info = msg
    error = exception = critical = warning


def _line(logger: object, name: str, event: EventDict) -> str:
    """A line for people, without colours: a fifth of the time that the renderer with them takes. Of a request: when,
    the client's address, method, route, status and milliseconds; of one that was refused, the error's code. What may
    span lines stands at the end of a line."""
    if event["event"] == "request":
        parts = [event[name] for name in ("timestamp", "address", "method", "route", "status") if name in event]
        return " ".join(map(str, [*parts, f"{event['ms']} ms", *filter(None, [event.get("error")])]))
    traceback = event.pop("exception", None)
    begin = f"{event.pop('timestamp')} {event.pop('level')} {event.pop('event')}"
    line = " ".join([begin, *(f"{key}={_value(value)}" for key, value in event.items())])
    return line if traceback is None else f"{line}\n{traceback}"


def _json(_logger: object, _name: str, event: EventDict) -> str:
    """A line for programs, in ASCII, whatever the terminal or file takes; a value that JSON has not is told as it is
    shown. What is nothing but ASCII, as nearly every line is, takes a tenth of the time."""
    with suppress(UnicodeEncodeError):  # half of a character, as names of files may have
        line = _ENCODE(event)
        if line.isascii():
            return line.decode()
    return json.dumps(event, default=repr)


class _Joined(logging.Handler):
    """Brings the lines of libraries that log by `logging` to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def _value(value: object) -> object:
    """A text that could be taken for more than one value, or line, is quoted."""
    return repr(value) if isinstance(value, str) and _AMBIGUOUS.search(value) else value


def _without_nothing(_logger: object, _method: str, event: EventDict) -> EventDict:
    """What there is not is not told."""
    return {name: value for name, value in event.items() if value is not None}


def log_to_stderr(form: str, level: str, *, serving: bool) -> None:
    """Set up the log: its form (`auto`, `json`, else lines for people), and from which level on it tells."""
    is_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    # Formatted here: a formatter that shows local variables would show keys among them.
    render: list[structlog.typing.Processor] = [structlog.processors.format_exc_info]
    render.append(_json if is_json else _line)
    out = _Together() if serving else _Stderr()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso" if is_json else "%Y-%m-%d %H:%M:%SZ", utc=True),
            _without_nothing,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: out,
    )
    logging.basicConfig(handlers=[_Joined()], level=logging.WARNING)
