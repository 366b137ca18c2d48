"""A file of records that the owner of a data directory asks for at the command line, over all of an account: a stream
of frames (`frames`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio.to_thread
import msgspec

from calldex.api.exports import EXPORT
from calldex.api.frames import Frame, Kind, packed
from calldex.api.owners_search import Search, with_ids
from calldex.audit.chain import OWNER, Actor
from calldex.errors import CalldexError
from calldex.exports import UPDATED_AT
from calldex.exports.request import made
from calldex.node import Node
from calldex.search.reader import Caller, Reader
from calldex.transport.replies import error_members
from calldex.transport.streams import Head, Pieces


async def file_of(node: Node, reader: Reader, asked: Search) -> Pieces:
    """The file. What goes wrong once it has begun is told in its last frame."""
    begun = False
    try:
        async with aclosing(_frames(node, reader, asked)) as frames:
            async for frame in frames:
                if not begun:
                    yield Head("application/octet-stream")
                    begun = True
                yield packed(frame)
    except CalldexError as error:
        if not begun:
            raise
        yield packed(Frame(Kind.ERROR, content=msgspec.json.encode(error_members(error, ""))))


async def _frames(node: Node, reader: Reader, asked: Search) -> AsyncGenerator[Frame, None]:
    owner = await anyio.to_thread.run_sync(node.owner, asked.account)
    pairs = await anyio.to_thread.run_sync(with_ids, node.directory, owner.account_id, asked.parameters)
    caller = Caller(owner, Actor(actor=OWNER, account_id=owner.account_id))
    async with (
        reader.open(caller, EXPORT, pairs) as search,
        search.stream(dated=UPDATED_AT in search.own.fields) as stream,
    ):
        file = made(search.own, search.timezone, stream.total)
        try:
            begun = await stream.run(file.begin)
            yield Frame(Kind.BEGIN, stream.total)
            yield Frame(Kind.PIECE, 0, begun)
            async for frame in stream.through(
                lambda batch: Frame(Kind.PIECE, batch.count, file.add(batch.converted, batch.count)), file.convert
            ):
                yield frame
            yield Frame(Kind.PIECE, 0, await stream.run(file.end))
        finally:
            await stream.settled()
            file.close()
    yield Frame(Kind.END)
