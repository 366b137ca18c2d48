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
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from calldex.datadir import HALF
from calldex.directory import Directory
from calldex.errors import CalldexError, Forbidden, NotFound, Unavailable
from calldex.targets import S3, Bucket, bucket_of

PART: Final = 8 << 20
"""Bytes of a part of an upload; a bucket takes 10,000 of them, 80 GB."""
PARTS_AT_ONCE: Final = 2
RETRY: Final = timedelta(seconds=20)
"""How long a part is tried again."""
_PIECE: Final = 1 << 20
_LONGEST_MESSAGE: Final = 300


class Credentials(msgspec.Struct, frozen=True):
    """What opens a bucket."""

    access_key_id: str
    secret_access_key: str

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id!r}, ...)"


def credentials_of(directory: Directory, target: str) -> Credentials | None:
    """What is kept of a target's."""
    kept = directory.target_secret(target)
    return None if kept is None else msgspec.json.decode(kept, type=Credentials)


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
    finally:
        with suppress(OSError):
            half.unlink(missing_ok=True)


def write_object(target: Bucket, pieces: Iterable[bytes], credentials: Credentials | None) -> None:
    """An object of these pieces; without credentials, those of the environment open the bucket (`AWS_ACCESS_KEY_ID`
    and the like). Raises what the pieces raise; `Forbidden`, `NotFound`, `Unavailable`."""
    import obstore
    from obstore import exceptions

    try:
        obstore.put(_store(target, credentials), target.key, _large(pieces), chunk_size=PART,
                    max_concurrency=PARTS_AT_ONCE)  # fmt: skip
    except exceptions.BaseError as error:
        raise _failure(target, error) from None
    except FileNotFoundError as error:  # what obstore calls a bucket that is not there
        raise NotFound(f"there is no bucket {target.bucket}: {_line(error)}") from None


def pieces_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _large(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of some size, as each costs a call from another language."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _PIECE:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def _store(target: Bucket, credentials: Credentials | None) -> Any:
    from obstore.store import S3Store

    options: dict[str, Any] = {} if credentials is None else msgspec.structs.asdict(credentials)
    endpoint = target.endpoint or next(filter(None, map(os.environ.get, _ENDPOINTS)), None)
    if endpoint is not None:
        options["endpoint"] = endpoint
    if target.region is not None:
        options["region"] = target.region
    return S3Store(
        target.bucket,
        client_options={"allow_http": (endpoint or "").startswith("http://")},
        retry_config={"max_retries": 5, "retry_timeout": RETRY},
        **options,
    )


_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def _line(error: Exception) -> str:
    """What an error says first; behind it stand its innards."""
    return str(error).partition("\n")[0][:_LONGEST_MESSAGE]


def _failure(target: Bucket, error: Exception) -> CalldexError:
    from obstore import exceptions

    message = f"s3://{target.bucket}/{target.key} was not written: {_line(error)}"
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return Forbidden(message)
    return Unavailable(message, retry_after=30)
