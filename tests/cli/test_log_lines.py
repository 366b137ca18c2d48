"""Log lines of a server: written together, none lost, each of them one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from calldex.cli import process

_MANY = """
import sys, structlog
from calldex.cli.process import log_to_stderr
log_to_stderr("console", "info", serving=True)
log = structlog.get_logger("x")
for number in range({count}):
    log.info("counted", number=number, error=None)
{end}
"""


@pytest.mark.parametrize("end", ["", "raise ValueError('at the end')", "sys.exit(3)"])
@pytest.mark.parametrize("count", [1, 25_000])
def test_no_line_is_lost_when_a_process_ends(count: int, end: str) -> None:
    """Whatever it ends by, and however many wait: all are written, in their order, without what has no value."""
    done = subprocess.run(
        [sys.executable, "-c", _MANY.format(count=count, end=end)], capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stderr.splitlines() if "counted" in line]
    assert [f"number={number}" for number in range(count)] == [line.split()[-1] for line in lines]


def test_a_warning_is_written_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """With what waits before it: if the process is killed now, the reason stands in the log."""
    together = process._Together()  # noqa: SLF001 - what loggers write by
    together.info("before")
    together.warning("now")
    assert "before\nnow\n" == capsys.readouterr().err


@pytest.mark.parametrize("text", ["a b", "a=b", "a\nb", "a\x1b[31m", "a\u2028b", 'a"', "ключ"])
def test_a_value_is_one_word(text: str) -> None:
    """Text that could be taken for another value or another line is quoted and escaped."""
    line = process._line(None, "info", {"timestamp": "t", "level": "info", "event": "e", "v": text, "w": 1})  # noqa: SLF001 - one line of it
    assert line.endswith(f" v={text!r} w=1")
    assert 1 == len(line.splitlines())
