"""Buckets are opened: objects are written to them, for exports, and read from them, for recordings. Blocks: for threads
and commands. How a bucket is written as text is told in `targets`.

Messages name the bucket and never a key that was read: the names of recordings often have telephone numbers in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Annotated, Any, Final

import msgspec

from calldex.directory import Directory
from calldex.directory.buckets import BucketUse
from calldex.errors import CalldexError, Forbidden, NotFound, Unavailable
from calldex.inputs import SECRET
from calldex.targets import Bucket

PART: Final = 8 << 20
"""Bytes of a part of an upload; a bucket takes 10,000 of them, 80 GB."""
PARTS_AT_ONCE: Final = 2
PIECE: Final = 1 << 20
WRITING: Final = timedelta(seconds=20)
"""How long a part is tried again."""
READING: Final = timedelta(seconds=5)
"""How long a request is tried again for which somebody waits."""
_SILENT: Final = timedelta(seconds=10)
_LONGEST_MESSAGE: Final = 300
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


class Credentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What opens a bucket."""

    access_key_id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    secret_access_key: Annotated[str, msgspec.Meta(min_length=1, max_length=400, extra_json_schema=SECRET)]

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id!r}, ...)"


class Object(msgspec.Struct, frozen=True):
    """An object as it is now: how large, which version (its entity tag), and when it was written, in epoch seconds."""

    size: int
    tag: str
    modified_s: float


def keep_credentials(directory: Directory, use: BucketUse, name: str, given: Credentials) -> None:
    """Keep what opens a bucket, sealed."""
    directory.set_bucket_secret(use, name, msgspec.json.encode(given).decode())


def kept_credentials(directory: Directory, use: BucketUse, name: str) -> Credentials | None:
    """What is kept of that; None if nothing is."""
    kept = directory.bucket_secret(use, name)
    return None if kept is None else msgspec.json.decode(kept, type=Credentials)


def write_object(target: Bucket, pieces: Iterable[bytes], credentials: Credentials | None) -> None:
    """An object of these pieces; without credentials, those of the environment open the bucket (`AWS_ACCESS_KEY_ID`
    and the like). Raises what the pieces raise; `Forbidden`, `NotFound`, `Unavailable`."""
    import obstore
    from obstore import exceptions

    try:
        obstore.put(
            _store(target, credentials, WRITING),
            target.key,
            _large(pieces),
            chunk_size=PART,
            max_concurrency=PARTS_AT_ONCE,
        )
    except exceptions.BaseError as error:
        raise _failure(target, error) from None
    except FileNotFoundError as error:  # what obstore calls a bucket that is not there
        raise NotFound(f"there is no bucket {target.bucket}: {_line(error)}") from None


class Objects:
    """The objects of a bucket, to be read."""

    def __init__(self, bucket: Bucket, credentials: Credentials | None) -> None:
        self._name = bucket.bucket
        self._store = _store(bucket, credentials, READING, timeout=_SILENT)

    def find(self, key: str) -> Object | None:
        """What is known of an object; None if there is none. `NotFound` if that is refused; `Unavailable`."""
        import obstore

        found = self._asked(lambda: obstore.head(self._store, key))
        if found is None:
            return None
        return Object(found["size"], str(found["e_tag"] or found["last_modified"]), found["last_modified"].timestamp())

    def pieces(self, key: str) -> Iterator[bytes]:
        """The bytes of an object; `NotFound` if it is gone."""
        import obstore

        found = self._asked(lambda: iter(obstore.get(self._store, key).stream(min_chunk_size=PIECE)))
        if found is None:
            raise NotFound("the object is gone")
        while piece := self._asked(lambda: next(found, None)):
            yield bytes(piece)

    def _asked(self, ask: Any) -> Any:
        from obstore import exceptions

        try:
            return ask()
        except FileNotFoundError:
            return None
        except _refusals():
            # Whoever may not list a bucket is told the same of what is not there.
            raise NotFound(
                f"the bucket {self._name} of this source's recordings does not give Calldex this file: its credentials"
                " are wrong, or the file is not there"
            ) from None
        except (exceptions.BaseError, OSError):
            raise Unavailable(
                f"the bucket {self._name} of this source's recordings does not answer", retry_after=10
            ) from None


def _large(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of some size, as each costs a call from another language."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= PIECE:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def _store(target: Bucket, credentials: Credentials | None, tried: timedelta, **client: Any) -> Any:
    from obstore.store import S3Store

    options: dict[str, Any] = {} if credentials is None else msgspec.structs.asdict(credentials)
    endpoint = target.endpoint or next(filter(None, map(os.environ.get, _ENDPOINTS)), None)
    if endpoint is not None:
        options["endpoint"] = endpoint
    if target.region is not None:
        options["region"] = target.region
    client["allow_http"] = (endpoint or "").startswith("http://")
    opens: Any = client
    return S3Store(
        target.bucket,
        client_options=opens,
        retry_config={"max_retries": 5, "retry_timeout": tried},
        **options,
    )


def _line(error: Exception) -> str:
    """What an error says first; behind it stand its innards."""
    return str(error).partition("\n")[0][:_LONGEST_MESSAGE]


def _refusals() -> tuple[type[Exception], ...]:
    from obstore import exceptions

    return (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError)


def _failure(target: Bucket, error: Exception) -> CalldexError:
    message = f"s3://{target.bucket}/{target.key} was not written: {_line(error)}"
    return Forbidden(message) if isinstance(error, _refusals()) else Unavailable(message, retry_after=30)
