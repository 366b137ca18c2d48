"""`python -m bench.dictionary`: makes the dictionary by which the ledger's JSON is compressed, and says what it gains.

Of invented records alone, of several contact centres and many years: nothing of anybody's records is in it, so erasing
one reaches all of it (decision 0047). What is in use never changes; this is how another one would be made.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import zstandard

from bench.figures import SEED
from calldex.demo import interactions
from calldex.store.embedded.packing import LEVEL
from calldex.store.sql import prepared

BYTES = 32_768
CENTRES = range(9_100, 9_110)
EACH = 300
END = datetime(2034, 1, 1, tzinfo=UTC)
DAYS = 3_660
ASKED = 20_000


def samples() -> Iterator[bytes]:
    """Records of centres that no benchmark has."""
    for seed in CENTRES:
        yield from (prepared(cdr).json for cdr in interactions(EACH, seed, END, DAYS))


def main(target: Path) -> None:
    """Write it, and print what records of another centre become by it."""
    made = zstandard.train_dictionary(BYTES, list(samples()), dict_id=1)
    target.write_bytes(made.as_bytes())
    texts: list[bytes | bytearray | memoryview] = [prepared(cdr).json for cdr in interactions(ASKED, SEED)]
    coder = zstandard.ZstdCompressor(LEVEL, dict_data=made, write_checksum=True)
    began = time.process_time()
    packed = coder.multi_compress_to_buffer(texts).size()
    spent = time.process_time() - began
    print(f"{sum(map(len, texts)) / ASKED:,.0f} -> {packed / ASKED:,.0f} bytes, {spent / ASKED * 1e6:.1f} us a record")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
