"""With how much a property is tried: a third of the examples in `make test`, whose examples are others each time, and
all of them in `make soak`; of parameters that are all alike some in `make check`."""

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


def first_are_quick(cases: Iterable[object], most: int = 1) -> list[ParameterSet]:
    """Each case as a parameter, or several if it is a tuple; all but the first are slow."""
    values = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*each, marks=pytest.mark.slow if at >= most else ()) for at, each in enumerate(values)]
