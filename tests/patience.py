"""How long tests wait for others."""

from __future__ import annotations

import os
from pathlib import Path


def patient(seconds: float) -> float:
    """So many seconds of a machine that is quiet: more where more wants to run than there are cores."""
    average, _, _, running, _ = Path("/proc/loadavg").read_text().split()
    wanting = max(float(average), int(running.partition("/")[0]))
    return seconds * max(1.0, wanting / (os.cpu_count() or 1))
