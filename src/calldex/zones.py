"""The names of time zones that may be given: those of the IANA database that mean a place or UTC.

Beside the way of a record; wherever a zone is named (parameters, users, sources) it is checked against this.
"""

from __future__ import annotations

from functools import cache
from typing import Final
from zoneinfo import available_timezones

_NO_ZONES: Final = frozenset({"localtime", "posixrules", "Factory"})
"""Names that a system has beside zones: whatever it is set to, and the lack of one."""


@cache
def timezones() -> frozenset[str]:
    """The names."""
    return frozenset(available_timezones()) - _NO_ZONES
