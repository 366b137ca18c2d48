"""What opens buckets: those that exports go to, and those that sources' recordings lie in. Kept sealed."""

from __future__ import annotations

from typing import Final, Literal

from sqlalchemy import Connection, delete, select

from calldex.directory.database import Repository
from calldex.directory.sealing import SealedSecrets
from calldex.directory.tables import secrets

BucketUse = Literal["export_target", "recordings"]
"""What a bucket is for: it is the place of that name, or has the recordings of the source of that name."""
_NAME: Final = "{} {}"


class Buckets(Repository):
    """Credentials by what the bucket is for, as texts."""

    _sealing: SealedSecrets

    def set_bucket_secret(self, use: BucketUse, name: str, secret: str) -> None:
        """Keep what opens a bucket, sealed, in place of what was kept."""
        of = _NAME.format(use, name)
        value = self._sealing.seal(secret, of).encode()
        statement = self._db.insert(secrets).values(name=of, value=value)
        with self._db.write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))

    def bucket_secret(self, use: BucketUse, name: str) -> str | None:
        """What opens a bucket, if it is kept; `Unavailable` if it was sealed with another key."""
        of = _NAME.format(use, name)
        with self._db.read() as connection:
            value = connection.execute(select(secrets.c.value).where(secrets.c.name == of)).scalar()
        return None if value is None else self._sealing.open(bytes(value).decode(), of)


def drop_bucket_secret(connection: Connection, use: BucketUse, name: str) -> None:
    """Forget what opens a bucket."""
    connection.execute(delete(secrets).where(secrets.c.name == _NAME.format(use, name)))
