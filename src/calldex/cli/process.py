"""What a process does once before it opens a node: logs go to standard error, the collector of garbage rests more."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Mapping

import structlog
from structlog.typing import EventDict

from calldex.settings import Origin, Settings
from calldex.texts import without_keys


def prepare(settings: Settings, origins: Mapping[str, Origin], *, serving: bool) -> None:
    """Set up logging and memory. A command that does not serve says itself what went wrong: it logs faults alone,
    unless a level was chosen."""
    from calldex.ingest.workers import GC_THRESHOLDS

    quiet = not serving and origins["log_level"] == "default"
    _log_to_stderr(settings.log_format, "error" if quiet else settings.log_level)
    # `gc.freeze` is no help: what is frozen is not torn down at exit, and the bindings of the query engine complain.
    gc.set_threshold(*GC_THRESHOLDS)


class _Stderr:
    """Writes finished log lines to standard error, whatever that is at the time; without the keys in them."""

    def msg(self, line: str) -> None:
        sys.stderr.write(without_keys(line) + "\n")
        sys.stderr.flush()

    debug = info = warning = error = exception = critical = msg


class _Joined(logging.Handler):
    """Brings the lines of libraries that log by `logging` to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def _without_nothing(_logger: object, _method: str, event: EventDict) -> EventDict:
    """What there is not is not told."""
    return {name: value for name, value in event.items() if value is not None}


class Line:
    """A line for people. Of a request: when, the client's address, method, route, status and milliseconds; and if it
    was refused, the error's code."""

    def __init__(self, colors: bool) -> None:
        # The default formatter of exceptions shows local variables, and a key may be one.
        traceback = structlog.dev.plain_traceback
        self._rest = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=traceback, pad_event_to=0)

    def __call__(self, logger: object, method: str, event: EventDict) -> str:
        """The line."""
        if event["event"] != "request":
            return str(self._rest(logger, method, event))
        parts = [event[name] for name in ("timestamp", "address", "method", "route", "status") if event.get(name)]
        return " ".join(map(str, [*parts, f"{event['ms']} ms", *filter(None, [event.get("error")])]))


def _log_to_stderr(form: str, level: str) -> None:
    at_terminal = sys.stderr.isatty()
    is_json = form == "json" or (form == "auto" and not at_terminal)
    render: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()] if is_json else [Line(at_terminal)]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso" if is_json else "%Y-%m-%d %H:%M:%SZ", utc=True),
            _without_nothing,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Stderr(),
    )
    logging.basicConfig(handlers=[_Joined()], level=logging.WARNING)
