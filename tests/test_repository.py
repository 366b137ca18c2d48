"""What the repository must not hold, and that its locks fit `pyproject.toml` and each other."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from calldex.datadir import DIRECTORY_FILE, LOCK_FILE, RESERVE_FILE, SOCKET_FILE
from calldex.directory.sealing import SEALING_FILE
from calldex.store.embedded import COLUMNS_FILE, LEDGER_FILE

ROOT = Path(__file__).parents[1]
RUN = ROOT / "requirements" / "run.txt"
DEV = ROOT / "requirements" / "dev.txt"

# Written so that this file does not hold what it looks for.
REGISTRIES = re.compile(rb"pypi[.]org|pythonhosted[.]org|registry[.]npmjs|npmjs[.]com|deb[.]debian")
MACHINE_PATHS = re.compile(rb"(?<![\w.])/(?:home|root|work|Users)/")
# What lies at the top: whoever opens the repository sees what it is.
TOP = {
    *(".ci", ".editorconfig", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md"),
    *("SECURITY.md", "bench", "connectors", "deploy", "docs", "pyproject.toml", "requirements", "src", "tests", "web"),
}
# What Calldex, or a test of it, writes: data, keys, logs and sockets.
WRITTEN = (
    "*.db*",
    "*.duckdb*",
    "*.key*",
    "*.lock*",
    "*.log",
    "*.mp3",
    "*.pem",
    "*.reserve*",
    "*.sock*",
    "*.sqlite*",
    "demo.json",
)
LOCKED = re.compile(r"(?P<requirement>[\w.-]+==[\w.]+)(?: ; [^\\]+)?(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)")


def ignored(path: Path, patterns: list[str]) -> bool:
    """Whether `.gitignore` covers a path; its patterns are names, those of the root alone with a slash before them."""
    parts = path.relative_to(ROOT).parts
    return any(
        fnmatch("/".join(parts), pattern[1:]) if pattern.startswith("/") else fnmatch(parts[-1], pattern)
        for pattern in patterns
    )


def files(folder: Path, patterns: list[str]) -> Iterator[Path]:
    """Every file of the repository below a folder; works in a copy without git as well."""
    for path in folder.iterdir():
        if ignored(path, patterns):
            continue
        if path.is_dir():
            yield from files(path, patterns)
        else:
            yield path


def repository() -> list[Path]:
    """Every file that belongs to the repository."""
    return list(files(ROOT, [".git", *(line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split())]))


def holding(pattern: re.Pattern[bytes]) -> list[str]:
    """The files in which a pattern occurs, each with the first place where it does."""
    found = ((path, pattern.search(path.read_bytes())) for path in repository())
    return [f"{path.relative_to(ROOT)}: {match[0]!r}" for path, match in found if match]


def locked(path: Path) -> dict[str, tuple[Requirement, str]]:
    """The entries of a lock by name, each with its hashes; fails on a line that is anything else."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    entries: dict[str, tuple[Requirement, str]] = {}
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        match = LOCKED.fullmatch(line)
        assert match, f"{path.name}: not a pinned requirement with hashes: {line[:80]}"
        requirement = Requirement(match["requirement"])
        assert requirement.name not in entries, f"{path.name}: {requirement.name} has two versions"
        entries[requirement.name] = (requirement, match["hashes"])
    return entries


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The contents of `pyproject.toml`."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_no_registry_is_named() -> None:
    """Where packages come from is the installer's business: no file names a registry's host."""
    assert [] == holding(REGISTRIES)


def test_no_path_of_a_machine_is_named() -> None:
    """No file knows in which folder of which machine it was written."""
    assert [] == holding(MACHINE_PATHS)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (REGISTRIES, b"--index-url %s" % b".".join((b"pypi", b"org"))),
        (REGISTRIES, b'"resolved": "%s.org"' % b".".join((b"registry", b"npmjs"))),
        (MACHINE_PATHS, b"open('/%s/someone/calldex')" % b"home"),
        (MACHINE_PATHS, b"\n/%s/main/src" % b"work"),
    ],
)
def test_the_patterns_find_what_they_are_for(pattern: re.Pattern[bytes], text: bytes) -> None:
    """A host or a path that must not be there would be seen."""
    assert pattern.search(text)


def test_nothing_lies_at_the_top_by_accident() -> None:
    """What is there is on a list; a file that a test left in the folder it ran in is not."""
    assert TOP == {path.relative_to(ROOT).parts[0] for path in repository()}


def written(paths: Iterable[Path]) -> list[Path]:
    """The files that the program writes, by their names."""
    return [path for path in paths if any(fnmatch(path.name, pattern) for pattern in WRITTEN)]


def test_nothing_that_the_program_writes_is_kept() -> None:
    """Neither data nor a key of a data directory belongs to the repository."""
    assert [] == written(repository())


@pytest.mark.parametrize(
    "name", [LEDGER_FILE, DIRECTORY_FILE, COLUMNS_FILE, SEALING_FILE, LOCK_FILE, RESERVE_FILE, SOCKET_FILE]
)
@pytest.mark.parametrize("end", ["", "-wal", ".wal", ".part"])
def test_what_the_program_writes_is_known(name: str, end: str) -> None:
    """A file of a data directory would be found, and what lies beside it while it is written."""
    path = Path(name + end)
    assert [path] == written([path])


def test_no_lock_with_addresses() -> None:
    """The locks are those in `requirements/`; none of a tool that writes down addresses lies beside them."""
    others = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"}
    assert [] == [path for path in repository() if path.name in others]


@pytest.mark.parametrize("path", [RUN, DEV], ids=lambda path: path.name)
def test_a_lock_is_pins_and_hashes(path: Path) -> None:
    """Every line of a lock is one version with its hashes; there is no address and no option in it."""
    assert locked(path)
    assert "://" not in path.read_text()


def test_what_is_tested_is_what_runs() -> None:
    """The lock of the tests holds the lock of the service, entry by entry."""
    dev = locked(DEV)
    assert locked(RUN) == {name: dev.get(name) for name in locked(RUN)}


def test_locks_fit_the_project(project: dict[str, Any]) -> None:
    """Every requirement of `pyproject.toml` is locked at a version it allows; else `make lock` was forgotten."""
    groups = project["dependency-groups"]
    for path, wanted in (
        (RUN, [*project["project"]["dependencies"], *groups["build"]]),
        (DEV, [*project["project"]["dependencies"], *groups["build"], *groups["dev"]]),
    ):
        pins = {name: requirement for name, (requirement, _) in locked(path).items()}
        for requirement in map(Requirement, wanted):
            (pin,) = pins[canonicalize_name(requirement.name)].specifier
            assert requirement.specifier.contains(pin.version), f"{path.name}: {pin} is not {requirement}"


def test_the_build_is_locked(project: dict[str, Any]) -> None:
    """What builds the package comes from the lock as well, so that installing it needs no network."""
    assert project["build-system"]["requires"] == project["dependency-groups"]["build"]
