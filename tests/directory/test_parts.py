"""The directory is put together of parts that know nothing of each other."""

from __future__ import annotations

import ast
import inspect
from itertools import combinations
from typing import Final

import pytest

from calldex.directory import Directory
from calldex.directory.database import Repository

SHARED: Final = frozenset(("_db", "_sealing"))
"""The database, and what seals the secrets of others."""


def classes(part: type) -> list[type]:
    """A part, and what it is made of."""
    return [each for each in part.__mro__ if each not in (Repository, object)]


def named(part: type) -> set[str]:
    """What a part defines: methods, and what it keeps."""
    found = {name for each in classes(part) for name in vars(each) if not name.startswith("__")}
    return (found | {name for name, stored in of_self(part) if stored}) - SHARED


def of_self(part: type) -> set[tuple[str, bool]]:
    """What the methods of a part ask of `self`, and whether they set it."""
    trees = [ast.parse(inspect.getsource(each)) for each in classes(part)]
    return {
        (node.attr, isinstance(node.ctx, ast.Store))
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }


@pytest.mark.parametrize("part", Directory.__bases__)
def test_a_part_knows_itself_alone(part: type) -> None:
    """Of what it is put together with, a part asks for nothing but the database and what seals."""
    assert set() == {name for name, _ in of_self(part)} - named(part) - SHARED


def test_no_part_has_a_name_of_another() -> None:
    """So none of them hides what another does."""
    assert [] == [
        (one.__name__, other.__name__, name)
        for one, other in combinations(Directory.__bases__, 2)
        for name in sorted(named(one) & named(other))
    ]
