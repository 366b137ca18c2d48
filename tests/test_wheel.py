"""What is installed is what was tested: the wheel, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
SECONDS: Final = 300

pytestmark = pytest.mark.slow


def ran(words: Sequence[object], folder: Path) -> str:
    """What a command prints that succeeds, in a folder from which nothing of the repository can be imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CALLDEX_", "PYTHON"))}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert 0 == done.returncode, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the working tree as `pip install .` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "wheel")
    ran((*pip, "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, ROOT), folder)
    (made,) = folder.glob("calldex-*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment that has the wheel, and the dependencies of this one, but not the repository."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    # A folder named in a `.pth` file is searched, but `.pth` files within it are not read: so the editable install of
    # the repository, which is one of those, does not count there.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    """Modules, migrations and whatever else lies in the package's folder."""
    package = ROOT / "src" / "calldex"
    ours = {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert set() == ours - set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_brings_the_unit(wheel: Path) -> None:
    """Of `calldex sync`, where systemd looks for units below a prefix."""
    (unit,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".service"))
    assert unit.endswith(".data/data/lib/systemd/system/calldex-sync.service")


def test_the_wheel_works(installed: Path, tmp_path: Path) -> None:
    """Its command makes a data directory, takes records in, finds them, and says that all is well."""
    where = ran((installed, "-c", "import calldex; print(calldex.__file__)"), tmp_path)
    assert where.startswith(str(installed.parents[1])), "the wheel is not what is imported"
    calldex = (installed, "-m", "calldex")
    line = (
        '{"uuid": "01998a3e-5c00-8000-8000-00000000a001", "type": "inbound", "disposition": "answered",'
        ' "timestamp": "2026-09-30T08:15:00Z", "duration": "00:03:20", "from": "442079460321", "to": "442079460100"}\n'
    )
    (tmp_path / "calls.jsonl").write_text(line)
    ran((*calldex, "import", "--format", "jsonl", "calls.jsonl", "--data", tmp_path / "data"), tmp_path)
    found = ran((*calldex, "search", "--cli", "4420", "--format", "jsonl", "--data", tmp_path / "data"), tmp_path)
    assert "01998a3e-5c00-8000-8000-00000000a001" in found
    ran((*calldex, "check", "--data", tmp_path / "data"), tmp_path)
