"""Pieces become a file, or an object of a bucket: whole, or not there. Blocks: for threads and commands.

A file gets its name when all of it is on disk. An object is there when all of its parts are; an upload that breaks off
is given up (obstore sees to it, also when the pieces end in an error).
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from calldex.buckets import PIECE, Credentials, write_object
from calldex.datadir import HALF
from calldex.errors import Unavailable
from calldex.targets import S3, bucket_of


def deliver(place: str, name: str, pieces: Iterable[bytes], credentials: Credentials | None) -> None:
    """Bring a file of this name, below a folder, to a place of the setting `export_targets`. Raises as `write_object`;
    `Unavailable` for a folder that cannot be written now, as its disk may be away."""
    if place.startswith(S3):
        write_object(bucket_of(place).below(name), pieces, credentials)
        return
    path = Path(place, name)
    try:
        if not Path(place).is_dir():
            raise FileNotFoundError(errno.ENOENT, "there is no such folder")
        path.parent.mkdir(exist_ok=True)
        write_file(path, pieces)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}", retry_after=30) from None


def write_file(path: Path, pieces: Iterable[bytes]) -> None:
    """A file of these pieces, in the place of what had its name; of one that cannot be written nothing is left."""
    half = path.with_name(f".{path.name}.{secrets.token_hex(4)}{HALF}")
    try:
        with half.open("xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        with suppress(OSError):
            half.unlink(missing_ok=True)


def pieces_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece
