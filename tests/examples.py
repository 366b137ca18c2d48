"""With how much a property is tried: a third of the examples in `make test`, whose examples are others each time, and
all of them in `make soak`; of parameters that are all alike one in `make check`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

import pytest
from _pytest.mark.structures import ParameterSet

THOROUGH: Final = "CALLDEX_THOROUGH" in os.environ
_FEWEST: Final = 4


def examples(number: int) -> int:
    """So many, or a third of it."""
    return number if THOROUGH else max(number // 3, _FEWEST)


def first_is_quick(values: Iterable[object]) -> list[ParameterSet]:
    """Each as a parameter, of which all but the first are slow."""
    return [pytest.param(value, marks=pytest.mark.slow if at else ()) for at, value in enumerate(values)]
