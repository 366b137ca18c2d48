"""How many examples a property is tried with: a third in `make test`, whose examples are others each time, and all of
them in `make soak`."""

from __future__ import annotations

import os
from typing import Final

THOROUGH: Final = "CALLDEX_THOROUGH" in os.environ
_FEWEST: Final = 4


def examples(number: int) -> int:
    """So many, or a third of it."""
    return number if THOROUGH else max(number // 3, _FEWEST)
