"""A program that writes to a store until it is killed, and says on standard output what was acknowledged.

`python -m tests.store.writer FOLDER STEP` begins with that step. The steps are the same every time, so who reads the
output knows what must have been kept.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from calldex.records.record import Cdr, from_ms, time_uuid
from calldex.store import Store
from tests.engines import embedded, erase, put

POOL: Final = 2_000
"""How many different records there are; steps come back to them."""


def step(n: int) -> tuple[list[Cdr], list[str]]:
    """What the n-th step writes, or else erases: one commit."""
    if n % 6 == 5:
        return [], [time_uuid(m, "kill") for m in ((n * 31) % POOL, (n * 37) % POOL)]
    numbers = [(n * 13 + i * 7) % POOL for i in range(20)]
    # The last ones are as an earlier step may have left them: new, changed or unchanged.
    records = [
        Cdr(
            uuid=time_uuid(m, "kill"),
            type="outbound",
            disposition="answered",
            started_at=from_ms(1_750_000_000_000 + m * 50_000),
            duration_s=m,
            comment=f"{n} " * 40 if i < 15 else None,
        )
        for i, m in enumerate(numbers)
    ]
    return records, []


def do(store: Store, n: int) -> None:
    """Take the n-th step; when this returns it is acknowledged."""
    records, erased = step(n)
    if records:
        put(store, records, wait=n % 3 == 0)
    else:
        erase(store, 1, erased)


def main() -> None:
    """Steps without end."""
    folder, n = Path(sys.argv[1]), int(sys.argv[2])
    store = embedded(folder)
    while True:
        do(store, n)
        sys.stdout.write(f"{n}\n")
        sys.stdout.flush()
        n += 1


if __name__ == "__main__":
    main()
