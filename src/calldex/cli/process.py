"""What a process does once before it opens a node: logs go to standard error, the collector of garbage rests more."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Mapping

import structlog

from calldex.settings import Origin, Settings
from calldex.texts import without_keys


def prepare(settings: Settings, origins: Mapping[str, Origin], *, serving: bool) -> None:
    """Set up logging and memory. A command that does not serve logs from `warning` on, unless a level was chosen."""
    from calldex.ingest.workers import GC_THRESHOLDS

    quiet = not serving and origins["log_level"] == "default"
    _log_to_stderr(settings.log_format, "warning" if quiet else settings.log_level)
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


def _log_to_stderr(form: str, level: str) -> None:
    render: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if form == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The default shows local variables, and a key may be one.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Stderr(),
    )
    logging.basicConfig(handlers=[_Joined()], level=logging.WARNING)
