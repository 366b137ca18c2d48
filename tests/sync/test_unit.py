"""The unit of systemd that the wheel brings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
UNIT: Final = (ROOT / "deploy" / "calldex-sync.service").read_text()
COMMANDS: Final = re.findall(r"^Exec\w+=-?(\S+) (.+)$", UNIT, re.MULTILINE)


def test_the_guide_shows_it() -> None:
    """As it is."""
    assert f"```ini\n{UNIT}```\n" in (ROOT / "docs" / "guides" / "sync.md").read_text()


def test_systemd_understands_it(tmp_path: Path) -> None:
    """Every line, with a program that is there."""
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("there is no systemd-analyze")
    unit = tmp_path / "calldex-sync.service"
    unit.write_text(UNIT.replace("/opt/calldex/bin/calldex", sys.executable))
    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("words", [words for _, words in COMMANDS])
def test_its_commands_are_ours(words: str, tmp_path: Path) -> None:
    """Nothing is wrong with them but that the file is not there."""
    command = [sys.executable, "-m", "calldex", *words.replace("/var/lib", str(tmp_path)).split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (5, "") == (done.returncode, done.stdout)
    assert "sync.toml" in done.stderr
