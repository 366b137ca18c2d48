"""A stream to the owner's commands, in frames: so that they know how many records have come, and how it ended.

A frame is a head of nine bytes (its kind, how many records it is about, how many bytes follow) and these bytes. The
first one begins it, the last one ends it or says why it could not go on; a stream that stops without has broken off.
Pure.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from enum import IntEnum
from typing import Final, NamedTuple

HEAD: Final = struct.Struct(">BII")


class Kind(IntEnum):
    """What a frame is."""

    BEGIN = 0
    """How many records there will be, as digits."""
    PIECE = 1
    END = 2
    ERROR = 3
    """The error, as its reply would be."""


class Frame(NamedTuple):
    """A part of a stream."""

    kind: Kind
    records: int = 0
    content: bytes = b""


def packed(frame: Frame) -> bytes:
    """A frame as it is sent."""
    return HEAD.pack(frame.kind, frame.records, len(frame.content)) + frame.content


async def unpacked(parts: AsyncIterator[bytes]) -> AsyncIterator[Frame]:
    """The frames of a stream as it arrives."""
    held = bytearray()
    async for part in parts:
        held += part
        begin = 0
        while len(held) - begin >= HEAD.size:
            kind, records, size = HEAD.unpack_from(held, begin)
            end = begin + HEAD.size + size
            if len(held) < end:
                break
            yield Frame(Kind(kind), records, bytes(held[begin + HEAD.size : end]))
            begin = end
        del held[:begin]
