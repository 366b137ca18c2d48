"""Versions are proved while columns are made of them, in another process if they are many: both take as long, and both
hold the interpreter. That process reads the ledger beside this one, writes nothing, and ends with who started it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Final, cast

import msgspec
import structlog

from calldex.store.embedded import sqlite
from calldex.store.embedded.proof import Fault, faults

ALONE: Final = 100_000
"""Up to so many versions are proved in this process: another one takes as long to start."""
_AT_ONCE: Final = 20_000
_ENCODE: Final = msgspec.json.Encoder().encode
_GC_THRESHOLDS: Final = (50_000, 20, 100)

_log = structlog.get_logger(__name__)


class Proved(msgspec.Struct, frozen=True):
    """The versions up to a commit are proved since the proof before; these are wrong."""

    upto: int
    found: list[Fault]


_DECODE: Final = msgspec.json.Decoder(Proved).decode


def proofs(path: Path, after: int, upto: int) -> Generator[Proved]:
    """Prove the versions of the commits of a ledger behind `after`, which ends one, up to `upto`, in pieces; not when
    they ended."""
    if upto - after > ALONE:
        with suppress(OSError, msgspec.DecodeError), elsewhere(path, after, upto) as lines:
            for line in lines:
                proved = _DECODE(line)
                yield proved
                after = proved.upto
        if after < upto:
            _log.warning("prover_ended", proved=after, of=upto)
    yield from here(path, after, upto)


def here(path: Path, after: int, upto: int) -> Iterator[Proved]:
    """The same, in this process."""
    reader = sqlite.reading(path)
    try:
        while after < upto:
            ended = sqlite.rows(reader, "SELECT min(seq) FROM link WHERE seq >= ?", (min(after + _AT_ONCE, upto),))
            end = ended[0][0] or upto
            yield Proved(end, list(faults(lambda: nullcontext(reader), end, after=after, ends=False)))
            after = end
    finally:
        reader.close()


@contextmanager
def elsewhere(path: Path, after: int, upto: int) -> Iterator[Iterable[bytes]]:
    """The lines of a process that proves; it is ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", "from calldex.store.embedded.proving import prove; prove()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        process_group=0,  # Ctrl-C is for the process that waits for this one
    )
    given, told = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    try:
        with given:
            given.write(_ENCODE((str(path), after, upto)))
        yield told
    finally:
        process.kill()
        process.wait()
        told.close()


def prove() -> None:
    """What the other process does: a line for each piece, until nobody reads them."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    gc.set_threshold(*_GC_THRESHOLDS)
    path, after, upto = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[str, int, int])
    for proved in here(Path(path), after, upto):
        sys.stdout.buffer.write(_ENCODE(proved) + b"\n")
        sys.stdout.buffer.flush()
