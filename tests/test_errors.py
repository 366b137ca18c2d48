"""Errors, as users and scripts meet them."""

from __future__ import annotations

import re
import time

import pytest

from calldex import errors
from calldex.errors import BadParameters, CalldexError, Problem, Unauthorized, suggest


def family(root: type[CalldexError]) -> list[type[CalldexError]]:
    """A class and all below it."""
    return [root, *(each for child in root.__subclasses__() for each in family(child))]


def test_the_tree_in_the_docstring_is_true() -> None:
    """Every error stands there with its code, status and exit code, below its parent."""
    drawn = re.findall(r"^([| `-]*)(\w+) +([a-z_]+) +(\d{3}) +(?:exit )?(\d)$", str(errors.__doc__), re.MULTILINE)
    parents: list[str] = []
    found = []
    for indent, name, code, status, exit_code in drawn:
        depth = len(indent) // 3
        found.append((name, parents[depth - 1] if depth else "Exception", code, int(status), int(exit_code)))
        parents[depth:] = [name]
    tree = [(e.__name__, e.__bases__[0].__name__, e.code, e.status, e.exit_code) for e in family(CalldexError)]
    assert sorted(found) == sorted(tree)


def test_codes_are_unique_and_documented() -> None:
    """A script can tell every error from every other, and every class says when it is raised."""
    classes = family(CalldexError)
    assert len({each.code for each in classes}) == len(classes)
    assert [] == [each.__name__ for each in classes if not each.__dict__.get("__doc__")]


def test_all_problems_are_told() -> None:
    """The message of several problems has each of them in a line of its own."""
    error = BadParameters(
        [Problem("per_page", "0", "is out of range", "1 to 10000"), Problem("timezone", "Mars", "is no zone")]
    )
    assert str(error) == "per_page '0': is out of range. Valid: 1 to 10000\ntimezone 'Mars': is no zone"
    assert [problem.parameter for problem in error.problems] == ["per_page", "timezone"]


def test_a_bad_key_gets_the_contracts_words() -> None:
    """The contract fixes what a caller with a bad key is told."""
    assert (str(Unauthorized()), Unauthorized.status) == ("Invalid User API Key", 401)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("agent_id", ", did you mean 'agent_ids'?"),
        ("AGENT_IDS", ", did you mean 'agent_ids'?"),
        ("hlr_lookup", ", did you mean 'HLR_lookup'?"),
        ("something else", ""),
        ("", ""),
        ("agent_ids" * 100_000, ""),
    ],
)
def test_suggestions(given: str, expected: str) -> None:
    """The nearest valid name is suggested in its own spelling, and nothing where none is near."""
    assert expected == suggest(given, ["agent_ids", "queue_ids", "HLR_lookup"])


def test_suggestions_among_many() -> None:
    """Among thousands of names the nearest that begins alike is found, in time for a request that has many wrong."""
    names = [f"{first}.{number}@example.com" for first in ("ana", "bo", "cy") for number in range(7_000)]
    began = time.thread_time()
    for number in range(100, 130):
        assert f", did you mean 'bo.{number}@example.com'?" == suggest(f"Bo.{number}@exmple.com", names)
    assert 3 > time.thread_time() - began  # comparing all of them takes a minute
