"""Processes that tests of reading start."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from calldex.ingest import workers


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every process that is started from now on; the first byte of a stream is enough for one."""
    monkeypatch.setattr(workers, "ALONE", 1)
    processes: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen[bytes].__init__

    def noted(self: subprocess.Popen[bytes], *args: Any, **words: Any) -> None:
        popen(self, *args, **words)
        processes.append(self)

    monkeypatch.setattr(subprocess.Popen, "__init__", noted)
    return processes
