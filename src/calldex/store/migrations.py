"""Numbered migrations of a store's schema, as literal files of SQL: `<name>_NNNN_<what>.sql`, from 0001 without a gap.

Each brings a schema from the version before to its own number. None is ever changed, nor computed from live code: what
an older Calldex wrote is what its files say. Knows no engine; who applies them keeps the version in the store.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

import msgspec

_FILE: Final = re.compile(r"([a-z]+)_([0-9]{4})_([a-z0-9_]+)\.sql")


class Migration(msgspec.Struct, frozen=True):
    """The text of one file, its number and its name."""

    number: int
    name: str
    text: str


def read(package: str, schema: str) -> tuple[Migration, ...]:
    """The migrations of a schema that lie in a package, in order. Raises `ValueError` where one is missing or there
    twice."""
    found = [
        Migration(int(match[2]), match[0].removesuffix(".sql"), file.read_text(encoding="utf-8"))
        for file in files(package).iterdir()
        if (match := _FILE.fullmatch(file.name)) and match[1] == schema
    ]
    found.sort(key=lambda migration: migration.number)
    return numbered(schema, found)


def numbered(schema: str, found: Sequence[Migration]) -> tuple[Migration, ...]:
    """These, if they are numbered from 1 without a gap."""
    numbers = [migration.number for migration in found]
    if not numbers or numbers != [*range(1, len(found) + 1)]:
        raise ValueError(f"the migrations of {schema} are numbered {numbers}, not from 1 without a gap")
    return tuple(found)
