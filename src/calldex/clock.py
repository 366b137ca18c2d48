"""The clock: here alone it is asked what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """The time, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def now() -> datetime:
    """The time, an instant in UTC."""
    return datetime.now(UTC)
