"""Texts on their way to PostgreSQL, which keeps every character but NUL.

A record may call something by a name with a NUL, and anybody may ask for one. `database` imports this where a directory
is on PostgreSQL; others do not wait for the driver.
"""

from __future__ import annotations

import psycopg
from psycopg.abc import Buffer
from psycopg.types.string import StrDumperUnknown


class _Text(StrDumperUnknown):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))


def prepare(connection: psycopg.Connection, _record: object) -> None:
    """Let a new connection write � for NUL, as it is shown elsewhere."""
    connection.adapters.register_dumper(str, _Text)
