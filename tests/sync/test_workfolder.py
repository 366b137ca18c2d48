"""Folders to work in: whose process was killed, theirs goes; whose lives, theirs stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from calldex.sync.workfolder import WorkFolder

_WORKING: Final = """
import sys
from calldex.sync.workfolder import WorkFolder
made = WorkFolder()
(made.path / "load").write_text("rows")
print(made.path, flush=True)
sys.stdin.read()
"""


def old(path: Path) -> None:
    """Nobody is just making it any more."""
    os.utime(path, (1e9, 1e9))


def test_what_a_killed_process_left_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the next folder is made; not while its process lives, and not what is none of ours."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "calldex-sync-link").symlink_to(tmp_path / "else")
    (tmp_path / "else").mkdir()
    old(tmp_path / "else")
    command = [sys.executable, "-c", _WORKING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as working:
        assert working.stdout is not None
        left = Path(working.stdout.readline().strip())
        old(left)
        WorkFolder().close()
        assert "rows" == (left / "load").read_text()
        working.kill()
    old(left)
    made = WorkFolder()
    assert made.path.is_dir()
    assert not left.exists()
    made.close()
    assert {"calldex-sync-link", "else"} == {path.name for path in tmp_path.iterdir()}
