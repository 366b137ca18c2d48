"""The documentation: current, complete, and naming only what exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import msgspec
import pytest

from calldex.api.routes import ENDPOINTS
from calldex.cli import main as program
from calldex.directory import UserFilter
from calldex.errors import CalldexError
from calldex.formats import formats
from calldex.records.codec import Record
from calldex.records.fields import FIELDS, FILTER
from calldex.records.record import DISPOSITIONS, END_REASONS, EVENT_TYPES, INTERACTION_TYPES, Event, Flag, Leg, Team
from calldex.search.query import PARAMETERS, RELATED
from calldex.settings import Settings
from docs.generate import FOLDER, OWN, pages

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WRITTEN = sorted(path for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md")))
DECISIONS = sorted(path for path in (DOCS / "decisions").glob("*.md") if path.name != "README.md")


def relative(path: Path) -> str:
    """How a file is called in the repository."""
    return path.relative_to(ROOT).as_posix()


def section(path: Path, heading: str = "") -> str:
    """The text below a heading (its words, at any depth) up to the next heading; the whole file without one."""
    text = path.read_text()
    if not heading:
        return text
    match = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"{relative(path)} has no heading {heading!r}"
    return match[1]


def told(text: str) -> set[str]:
    """What the tables of a text tell something about: the names in each row's first cell, if its last is not empty."""
    names: set[str] = set()
    for line in re.findall(r"^\| (`.*) \|$", text, re.MULTILINE):
        cells = re.split(r"(?<!\\) \| ", line)
        if cells[-1].strip():
            names.update(re.findall(r"`([^`]+)`", cells[0]))
    return names


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, each with what one types to reach it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, f"{path} {name}")


def family(root: type[CalldexError]) -> list[type[CalldexError]]:
    """A class and all below it."""
    return [root, *(each for child in root.__subclasses__() for each in family(child))]


def names(struct: type[msgspec.Struct]) -> set[str]:
    """The members of a struct, as they are written."""
    return {field.encode_name for field in msgspec.structs.fields(struct)}


def test_the_reference_is_current() -> None:
    """What lies in `docs/reference` is what the code says now; if not, `make docs` was forgotten."""
    assert pages() == {path: path.read_text() for path in FOLDER.glob("*.md")}


def test_every_parameter_is_documented() -> None:
    """Each parameter of the search, its other names, what routes take beside them, and each filter of the users."""
    page = FOLDER / "parameters.md"
    assert told(section(page, "Filters")) >= FILTER.keys()
    assert told(section(page, "Days, pages and the key")) == {parameter.name for parameter in PARAMETERS}
    for heading, _, reading in OWN:
        assert names(reading.takes.own) <= told(section(page, heading))
        assert reading.takes.related or f"`{RELATED[0]}`" in section(page, heading), "which filter it does not take"
    for endpoint in ENDPOINTS:
        taken = {each["name"] for each in endpoint.parameters}
        assert not taken >= FILTER.keys() or taken <= told(section(page)), endpoint.path
    assert told(section(page, "Users")) == set(UserFilter.__struct_fields__)


@pytest.mark.parametrize(("heading", "struct"), [("A record", Record), *((c.__name__, c) for c in (Team, Event, Leg))])
def test_every_field_is_documented(heading: str, struct: type[msgspec.Struct]) -> None:
    """Each member of a record and of its parts."""
    assert names(struct) == told(section(FOLDER / "record.md", heading))


def test_the_table_and_the_record_have_the_same_fields() -> None:
    """A field cannot be served without a description."""
    assert names(Record) == {field.name for field in FIELDS}


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("type", INTERACTION_TYPES),
        ("disposition", DISPOSITIONS),
        ("end reason", END_REASONS),
        ("event", EVENT_TYPES),
        ("flag", get_args(Flag)),
    ],
)
def test_every_word_is_explained(heading: str, words: tuple[str, ...]) -> None:
    """Each word a record can have, and no other."""
    assert set(words) == told(section(DOCS / "words.md", heading))


def test_every_setting_is_documented() -> None:
    """Each setting, by its name."""
    assert set(Settings.__struct_fields__) == told(section(FOLDER / "settings.md"))


@pytest.mark.parametrize("name", formats())
def test_every_setting_of_a_format_is_documented(name: str) -> None:
    """Each setting that a source of this format can have."""
    assert names(formats()[name].settings) == told(section(FOLDER / "formats.md", name))


def test_every_error_is_documented() -> None:
    """Each code that a program can meet."""
    assert {error.code for error in family(CalldexError)} == told(section(FOLDER / "errors.md"))


@pytest.mark.parametrize(("path", "command"), list(commands(program, "calldex")), ids=str)
def test_every_command_is_documented(path: str, command: click.Command) -> None:
    """Each command says what it does, and each of its options what it is for."""
    text = section(FOLDER / "commands.md", path)
    assert command.help
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("-")}
    assert options <= {word.rstrip(",") for cell in told(text) for word in cell.split()}


def test_decisions_are_listed() -> None:
    """Each has a number of its own, says why, what and what follows, and their list has them all, in order."""
    assert len(DECISIONS) == len({path.name[:4] for path in DECISIONS})
    for path in DECISIONS:
        headings = re.findall(r"^## (.*)$", path.read_text(), re.MULTILINE)
        assert ["Context", "Decision", "Consequences"] == headings, relative(path)
    listed = re.findall(r"\]\((\d{4}-[^)]+)\)", (DOCS / "decisions" / "README.md").read_text())
    assert [path.name for path in DECISIONS] == listed


@pytest.mark.parametrize("path", WRITTEN, ids=relative)
def test_links_lead_somewhere(path: Path) -> None:
    """Every link to a file of the repository finds it."""
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", path.read_text())
    local = [link for link in links if "://" not in link]
    assert [] == [link for link in local if not (path.parent / link).exists()]


@pytest.mark.parametrize("path", WRITTEN, ids=relative)
def test_files_that_are_named_exist(path: Path) -> None:
    """A Python file or folder named in the text is there, counted from the root or from the package."""
    named = re.findall(r"`((?:[\w-]+/)*[\w-]+\.py|(?:src|tests|docs|bench|[a-z]+)/(?:[\w-]+/)*)`", path.read_text())
    places = (ROOT, ROOT / "src" / "calldex")
    assert [] == [name for name in named if not any((place / name).exists() for place in places)]


def told_commands() -> list[str]:
    """Each command of Calldex's in the shell blocks of README and the guides, without what stands before it."""
    found = []
    for path in (ROOT / "README.md", *sorted((DOCS / "guides").glob("*.md"))):
        for block in re.findall(r"^```sh[ \w]*\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            found += [match[1] for line in lines if (match := re.search(r"(?:^|\s|\()(calldex [a-z].*)$", line))]
    return found


@pytest.mark.parametrize("line", told_commands())
def test_commands_that_are_told_exist(line: str) -> None:
    """Command, subcommand and each option of what README and the guides tell to type."""
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = program
    while isinstance(command, click.Group):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert given <= known | {"--help"}, line


def test_every_promise_cites_a_test_that_there_is() -> None:
    """Each row of both tables of SECURITY.md names a test, by its file or that of the name before it."""
    rows = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if re.match(r"\| (?!\w+ \||---)", line)]
    assert len(rows) > 30
    for row in rows:
        cited = re.findall(r"`([\w/]*\.py)?::(test_\w+)`", row.rpartition(" | ")[2])
        assert cited, row
        file = ""
        for path, name in cited:
            file = path or file
            assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE), (file, name)
