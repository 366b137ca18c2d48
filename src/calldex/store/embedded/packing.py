"""How the JSON of versions lies in the ledger: compressed by zstd, each by itself, with a dictionary from the ledger.

A version that was written before that lies there as text, until it is compressed in the background: what begins with a
brace is JSON. Nothing of anybody's records is in the dictionary, see decision 0047. No table is known here but the
dictionaries'.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from itertools import accumulate, islice
from typing import Any, Final

import zstandard

from calldex.store.embedded.sqlite import Connection, rows

LEVEL: Final = 3
_AT_ONCE: Final = 256
_MOST: Final = 1 << 28
"""More bytes than any record has: whatever says to become more is damaged."""
_REFUSALS: Final = (zstandard.ZstdError, ValueError, MemoryError)
"""What zstd says of what it cannot decompress; the last where a length is not what it was."""
_FIRST: Final = "dictionary_0001.zstd"
_PLAIN: Final = b"{"
LINE_FEED: Final = zstandard.ZstdCompressor(write_checksum=False).compress(b"\n")
"""Joins what lies in the ledger to what `Packing.joined` decompresses."""


class Garbled(Exception):
    """A text is not what was compressed; `place` says which of those that were given."""

    def __init__(self, place: int) -> None:
        super().__init__("its JSON cannot be decompressed")
        self.place = place


def put_dictionary(writer: Connection) -> None:
    """Put the first dictionary into a ledger."""
    content = resources.files("calldex.store.embedded.schema").joinpath(_FIRST).read_bytes()
    writer.execute("INSERT INTO dictionary VALUES (1, ?)", (content,))


class Packing:
    """Compresses and decompresses for a ledger; any thread."""

    def __init__(self, connection: Connection) -> None:
        """A ledger of before there were dictionaries has none, and nothing that needs one."""
        known = rows(connection, "SELECT 1 FROM sqlite_schema WHERE name = 'dictionary'")
        found = rows(connection, "SELECT id, content FROM dictionary ORDER BY id") if known else []
        self._dictionaries: Mapping[int, zstandard.ZstdCompressionDict] = {
            id_: zstandard.ZstdCompressionDict(content) for id_, content in found
        }
        self._newest = max(self._dictionaries, default=0)
        if self._newest:
            self._dictionaries[self._newest].precompute_compress(level=LEVEL)
        self._own = threading.local()

    def _coder(self) -> zstandard.ZstdCompressor:
        """This thread's own: they cannot be shared."""
        coder: zstandard.ZstdCompressor | None = getattr(self._own, "coder", None)
        if coder is None:
            coder = self._own.coder = zstandard.ZstdCompressor(
                LEVEL, dict_data=self._dictionaries.get(self._newest), write_checksum=True
            )
        return coder

    def _decoder(self, id_: int) -> zstandard.ZstdDecompressor:
        decoders: dict[int, zstandard.ZstdDecompressor] | None = getattr(self._own, "decoders", None)
        if decoders is None:
            decoders = self._own.decoders = {}
        if id_ not in decoders:
            decoders[id_] = zstandard.ZstdDecompressor(dict_data=self._dictionaries.get(id_))
        return decoders[id_]

    def pack(self, texts: Sequence[bytes]) -> list[bytes]:
        """Some JSON, compressed."""
        if len(texts) == 1:
            return [self._coder().compress(texts[0])]
        found = self._coder().multi_compress_to_buffer(list(texts)) if texts else ()
        return [found[place].tobytes() for place in range(len(found))]

    def packed(self, versions: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Versions, of each of which JSON is the last value but one, with it compressed: some at once, and first a few,
        as whoever takes them may find that the first is there already."""
        left, most = iter(versions), 1
        while some := tuple(islice(left, most)):
            most = min(8 * most, _AT_ONCE)
            for version, json in zip(some, self.pack([version[-2] for version in some]), strict=True):
                yield (*version[:-2], json, version[-1])

    def joined(self, stored: bytes, last: bytes) -> bytes | None:
        """The JSON, a line each, of versions whose stored texts, none of them empty, are joined by `LINE_FEED`, given
        the text of the last one as well. None where these must be looked at one by one: one is damaged, of another
        dictionary, or was never compressed."""
        try:
            texts: bytes = self._decoder(self._newest).stream_reader(stored, read_across_frames=True).read()
            # A text that is cut at the end of all is decompressed as far as it goes, which nobody says.
            return texts if texts.endswith(self._plain(last, 0)) else None
        except (*_REFUSALS, Garbled):
            return None

    def unpack(self, stored: Sequence[bytes | None]) -> Sequence[Any]:
        """The JSON of some versions, as bytes or what can be joined like them. Raises `Garbled`."""
        whole = [each for each in stored if each is not None and not each.startswith(_PLAIN)]
        if 1 < len(whole) == len(stored):
            try:
                return self._unpacked(whole)
            except _REFUSALS:
                pass  # one of them is of another dictionary, or damaged
        return [self._plain(each, place) for place, each in enumerate(stored)]

    def _unpacked(self, stored: Sequence[bytes]) -> list[Any]:
        """All of them at once, but for so many that they lie in the processor's cache; nobody else waits meanwhile."""
        decoder, texts = self._decoder(self._newest), list[Any]()
        for begin in range(0, len(stored), _AT_ONCE):
            found = decoder.multi_decompress_to_buffer(list(stored[begin : begin + _AT_ONCE]))
            texts += [found[place] for place in range(len(found))]
        return texts

    def readable(self, stored: Sequence[bytes | None]) -> list[bytes | None]:
        """The same, where those that are damaged are None: whatever is sent is not what they are."""
        try:
            return [bytes(each) for each in self.unpack(stored)]
        except Garbled as error:
            at = error.place
            return [*self.readable(stored[:at]), None, *self.readable(stored[at + 1 :])]

    def each(self, stored: Sequence[bytes]) -> list[bytes | None]:
        """The JSON of each of some versions, or None where what lies there is not that and nothing else, to its last
        byte."""
        found: list[bytes | None] = []
        for begin in range(0, len(stored), _AT_ONCE):
            some = stored[begin : begin + _AT_ONCE]
            try:
                found += self._together(some)
            except _REFUSALS:  # one of them is of another dictionary, damaged, or was never compressed
                found += map(self._plain_or_none, some)
        return found

    def _together(self, stored: Sequence[bytes]) -> Iterator[bytes]:
        """Some texts as one stream, which only ends in the line feed that is put behind them if each is whole."""
        sizes = [zstandard.get_frame_parameters(each).content_size for each in stored]
        if sum(sizes) > _MOST:
            raise ValueError("more than records have")
        stream = self._decoder(self._newest).stream_reader(b"".join((*stored, LINE_FEED)), read_across_frames=True)
        texts = stream.read()
        if len(texts) != sum(sizes) + 1:
            raise ValueError("something else lies between them")
        return (texts[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True))

    def _plain_or_none(self, stored: bytes) -> bytes | None:
        try:
            return self._plain(stored, 0)
        except Garbled:
            return None

    def plain(self, stored: bytes | None) -> bytes | None:
        """The JSON of a version; of a tombstone, None. Raises `Garbled`."""
        return None if stored is None else self._plain(stored, 0)

    def _plain(self, stored: bytes | None, place: int) -> bytes:
        if stored is None:  # somebody has emptied it
            raise Garbled(place)
        if stored.startswith(_PLAIN):
            return stored
        try:
            told = zstandard.get_frame_parameters(stored)
            if told.content_size <= _MOST and (not told.dict_id or told.dict_id in self._dictionaries):
                return self._decoder(told.dict_id).decompress(stored, allow_extra_data=False)
        except _REFUSALS as error:
            raise Garbled(place) from error
        raise Garbled(place)
