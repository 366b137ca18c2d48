"""Sources and secrets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from calldex.directory import Directory
from calldex.errors import BadParameters, Conflict, NotFound
from tests.directory.places import Place


def test_sources(directory: Directory) -> None:
    """A source keeps what it was given, is listed by name, and can be removed."""
    directory.add_account("north")
    settings = {"zone": "UTC", "trunk": r"PJSIP/trunk-.*", "columns": ""} | {"note": "ä" * 4000}
    del settings["columns"]
    pbx = directory.add_source("pbx", "asterisk", settings, "north")
    assert (pbx.name, pbx.format, pbx.settings, pbx.account) == ("pbx", "asterisk", settings, "north")
    assert directory.source("pbx") == pbx
    crm = directory.add_source("crm", "jsonl", {})
    assert directory.sources() == [crm, pbx]
    directory.remove_source("crm")
    assert directory.sources() == [pbx]


def test_refused_sources(directory: Directory) -> None:
    """A name is taken once in the installation; what cannot be a source is told whole."""
    directory.add_account("north")
    directory.add_source("pbx", "asterisk", {})
    with pytest.raises(Conflict, match="already a source 'pbx'"):
        directory.add_source("pbx", "jsonl", {}, "north")
    with pytest.raises(BadParameters) as error:
        directory.add_source("a b", "", {"": "x", "k": "x" * 4001} | {f"k{n}": "x" for n in range(99)})
    assert [problem.parameter for problem in error.value.problems] == [
        "name",
        "format",
        "settings",
        "settings.k",
        "settings",
    ]


def test_unknown_source(directory: Directory) -> None:
    """Whoever asks for a source that is not there learns which are."""
    with pytest.raises(NotFound, match=r"^there is no source 'pbx'\. There are no sources yet\.$"):
        directory.source("pbx")
    directory.add_source("pbx", "asterisk", {})
    directory.add_source("crm", "jsonl", {})
    with pytest.raises(NotFound, match=r"^there is no source 'pbxx', did you mean 'pbx'\? Sources: crm, pbx$"):
        directory.remove_source("pbxx")


def test_secrets(directory: Directory, place: Place) -> None:
    """A secret is made once, even if many ask at once, and is the same in every process."""
    with place.open() as other, ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(lambda number: (directory, other)[number % 2].secret("token", 64), range(16)))
    assert len(asked[0]) == 64
    assert set(asked) == {directory.secret("token", 64)}
    assert directory.secret("other", 64) != asked[0]
    with pytest.raises(ValueError, match="has 64 bytes, not 32"):
        directory.secret("token", 32)
