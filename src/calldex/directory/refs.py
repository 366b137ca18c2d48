"""Ids and names by which people tell which team, queue or group they mean. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from calldex.errors import MOST_PROBLEMS, BadParameters, CalldexError, Conflict, NotFound, Problem, suggest


def reference(text: str) -> int | str:
    """What was typed: the id that digits are, else a name."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= 16 else text


class Refs:
    """The things of a kind in an account; `noun` is what one is called in messages."""

    def __init__(self, noun: str, names: Mapping[int, str]) -> None:
        self._noun = noun
        self._ids: dict[str, list[int]] = {}
        self.names: dict[int, str] = {}
        for id_, name in names.items():
            self.set(id_, name)

    def set(self, id_: int, name: str) -> None:
        """Something is new, or called so from now on."""
        if id_ in self.names:
            self._ids[self.names[id_]].remove(id_)
        self.names[id_] = name
        self._ids.setdefault(name, []).append(id_)

    def named(self, name: str) -> list[int]:
        """The ids of those of a name."""
        return self._ids.get(name, [])

    def id(self, ref: int | str) -> int:
        """The id of what is meant: `NotFound` with the nearest name, `Conflict` with the ids of several."""
        if isinstance(ref, int):
            if ref in self.names:
                return ref
            raise NotFound(f"there is no {self._noun} {ref}")
        ids = self.named(ref) if ref else []
        if not ids:
            raise NotFound(f"there is no {self._noun} {ref[:200]!r}{suggest(ref, filter(None, self._ids))}")
        if len(ids) > 1:
            listed = ", ".join(map(str, ids))
            raise Conflict(f"several are called {ref[:200]!r}; give the id of one of them: {listed}")
        return ids[0]

    def ids(self, parameter: str, refs: Iterable[int | str]) -> tuple[int, ...]:
        """The ids of those that are meant, in order; `BadParameters` with those that are not there."""
        found: set[int] = set()
        problems: list[Problem] = []
        for ref in refs:
            if len(problems) >= MOST_PROBLEMS:
                break
            try:
                found.add(self.id(ref))
            except CalldexError as error:
                problems.append(Problem(parameter, str(ref)[:100], error.message))
        if problems:
            raise BadParameters(problems)
        return tuple(sorted(found))
