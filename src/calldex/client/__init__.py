"""A client of the CDR API, for programs in Python: `Client`, and `AsyncClient` for those on an event loop.

    from calldex.client import Client

    with Client("https://calls.example.com", key) as client:
        for record in client.cdrs(type="outbound", start_date="2026-11-01"):
            ...

It walks search tokens, waits as `Retry-After` asks, tries again what failed on the way, and raises `Incomplete` instead
of ending early: a walk that ended has given every record. `cdrs` and the look-ups need no more than version 2 of the
contract, so they work with the vendor's own endpoint too; `changes`, `export`, `stats` and `checksums` are Calldex's.

What it imports is httpx2 and Python's own modules: nothing of the server. Records are plain dictionaries, as served.
"""

from __future__ import annotations

from calldex.client.client import AsyncClient, Client
from calldex.client.flows import Changes, Exported, Record
from calldex.client.problems import (
    ApiError,
    ClientError,
    CursorExpired,
    Incomplete,
    RightsChanged,
    Unauthorized,
    Unreachable,
)

__all__ = (
    "ApiError",
    "AsyncClient",
    "Changes",
    "Client",
    "ClientError",
    "CursorExpired",
    "Exported",
    "Incomplete",
    "Record",
    "RightsChanged",
    "Unauthorized",
    "Unreachable",
)
