"""What a figure must be read with: the machine, the versions, the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

_ENGINES = ("duckdb", "apsw", "chdb-core", "clickhouse-connect", "msgspec", "starlette", "uvicorn")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where and of what a measurement was made."""

    at: str
    commit: str
    cpu: str
    cores: int
    memory_gib: float
    python: str
    versions: dict[str, str]


def machine() -> Machine:
    """This machine, now."""
    return Machine(
        at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        commit=_commit(),
        cpu=_cpu(),
        cores=os.cpu_count() or 0,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        python=platform.python_version(),
        versions={name: version(name) for name in _ENGINES},
    )


def _commit() -> str:
    """The commit, with a plus where the tree differs from it; "unknown" without git."""
    root = Path(__file__).parent.parent
    try:
        commit = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], cwd=root, capture_output=True, check=True)  # noqa: S607 - as found
        dirty = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=root, capture_output=True, check=False)  # noqa: S607 - likewise
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.decode().strip() + ("+" if dirty.returncode else "")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
