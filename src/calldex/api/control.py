"""The owner's socket: what the owner of a data directory asks of its node, over HTTP.

One way for both cases: a server serves this app on the socket file in its data directory, which only the directory's
owner can open, and a command that has the directory to itself calls it in its own process. Never reachable by TCP, and
asks nobody who they are: the permissions of the file are the authority.

`POST /verbs/<verb>` does a verb of the administration (`admin`), with its subject and account in the query string.
`POST /search` takes a `Search` and gives a page of its records, `POST /export` a file of them in frames. `POST /import`
takes a stream of bytes of any length, what `Import` says in its query string, and replies with a `Summary`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

import anyio
import anyio.from_thread
import anyio.to_thread
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from calldex.access import Principal
from calldex.admin import VERB
from calldex.admin.quarantine import note_ingest
from calldex.admin.verb import MAIN, Doer, do
from calldex.api.owners_export import file_of
from calldex.api.owners_search import Search, page_of
from calldex.audit.chain import OWNER, Actor
from calldex.errors import BadRequest, CalldexError, NotFound, Unavailable
from calldex.ingest.calls import Feed
from calldex.ingest.pipeline import Summary
from calldex.inputs import from_json
from calldex.node import Node
from calldex.search.reader import Reader
from calldex.transport.replies import JSON, error_reply
from calldex.transport.requests import body_of
from calldex.transport.streams import StreamReply
from calldex.transport.workers import Workers

BODY_LIMIT: Final = 24 << 20
"""Holds the largest file of users or teams, in base64."""
PIECE: Final = 4 << 20
"""How many bytes are handed to the importing thread at once, and then to a process that reads them: each time it waits
for its turn with the interpreter, and what the readers may have ahead should last for a commit."""
AHEAD: Final = 4
"""How many such pieces may wait for it."""

_LOOK_S: Final = 0.2

READING_AT_ONCE: Final = 2
READING_WAITING: Final = 64

Handler = Callable[[Request], Awaitable[Response]]


class Import(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the bytes of an import are to be read, and what they are called in the quarantine (`origin`)."""

    origin: str
    source: str | None = None
    format: str | None = None
    account: str = MAIN


def control(node: Node) -> Starlette:
    """The app over a node, which stays the caller's to close."""
    workers = Workers("owner", READING_AT_ONCE, READING_WAITING, _too_many)
    exporting = Workers("owner-export", READING_AT_ONCE, READING_WAITING, _too_many)
    reader = node.reader({"searches": workers, "streams": exporting}, lambda _: None)
    handlers = {"verbs/{name}": _doing(node), "search": _searching(node, reader), "export": _exporting(node, reader)}
    handlers |= {"import": _importing(node)}
    routes = [Route(f"/{name}", _cancelled(node, handle), methods=["POST"]) for name, handle in handlers.items()]
    return Starlette(routes=routes, exception_handlers={CalldexError: _refused})


def _cancelled(node: Node, handle: Handler) -> Handler:
    """What is under way when the server's time to stop has passed ends with a reply that says so. A command that has
    the node to itself is simply interrupted."""

    async def replying(request: Request) -> Response:
        try:
            return await handle(request)
        except asyncio.CancelledError:
            if not node.stopping.is_set():
                raise
            raise Unavailable("the server was stopped before this was done; try again", retry_after=5) from None

    return replying


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, CalldexError):
        raise error
    return error_reply(error, "")


def _doing(node: Node) -> Handler:
    """A verb of the administration, done by the owner: `account` and `subject` stand in the query string."""

    async def handle(request: Request) -> Response:
        verb = VERB.get(request.path_params["name"])
        if verb is None:
            raise NotFound(f"there is no verb {request.path_params['name'][:100]!r}; is the server of another version?")
        named, subject = request.query_params.get("account"), request.query_params.get("subject", "")

        async def receive() -> bytes:
            return await body_of(request, BODY_LIMIT)

        def owner() -> Principal:
            account = named or (verb.home(node.directory, subject) if verb.home and subject else MAIN)
            return node.owner(account)

        def read(body: bytes) -> Any:
            return body if verb.takes is bytes else from_json(body, verb.takes)

        if not verb.path:  # of all accounts perhaps, in each of which it notes for itself what it did
            await node.audit.refuse_failed()
        principal = await anyio.to_thread.run_sync(owner)
        doer = Doer(principal=principal, actor=Actor(actor=OWNER, account_id=principal.account_id), by_name=True)
        return _json(await do(node, verb, doer, subject, receive=receive, read=read, run=anyio.to_thread.run_sync))

    return handle


def _searching(node: Node, reader: Reader) -> Handler:
    async def handle(request: Request) -> Response:
        return _json(await page_of(node, reader, from_json(await body_of(request, BODY_LIMIT), Search)))

    return handle


def _exporting(node: Node, reader: Reader) -> Handler:
    async def handle(request: Request) -> Response:
        asked = from_json(await body_of(request, BODY_LIMIT), Search)
        return StreamReply(lambda: file_of(node, reader, asked))

    return handle


def _too_many() -> CalldexError:
    return Unavailable("too many commands search at once; try again shortly", retry_after=1)


def _json(reply: object) -> Response:
    return Response(msgspec.json.encode(reply), media_type=JSON)


# --- import -----------------------------------------------------------------------------------------------------------


class _Gone(Exception):
    """Whoever sent the stream left before its end."""


def _importing(node: Node) -> Handler:
    async def handle(request: Request) -> Response:
        asked = _import_of(request)
        feed = await anyio.to_thread.run_sync(lambda: node.feed(asked.source, asked.format, asked.account))
        await node.audit.refuse_failed()
        outcome = await _imported(node, feed, asked.origin, request)
        if isinstance(outcome, CalldexError):
            raise outcome
        return _json(outcome)

    return handle


def _import_of(request: Request) -> Import:
    try:
        return msgspec.convert(dict(request.query_params), Import)
    except msgspec.ValidationError as error:
        raise BadRequest(f"this is not a valid request for an import: {error}") from None


async def _imported(node: Node, feed: Feed, origin: str, request: Request) -> Summary | CalldexError:
    """Read the request's body while a thread imports it. When the sender leaves, or this is cancelled, the thread ends
    after the batch in hand; what it committed stays."""
    send, receive = anyio.create_memory_object_stream[bytes](AHEAD)

    with receive:
        async with anyio.create_task_group() as group:
            group.start_soon(_read_ahead, request, send)
            group.start_soon(_end_when_stopping, node, send)
            outcome = await anyio.to_thread.run_sync(lambda: _run(node, feed, _pieces(receive), origin))
            group.cancel_scope.cancel()
    return outcome


def _run(node: Node, feed: Feed, pieces: Iterator[bytes], origin: str) -> Summary | CalldexError:
    """Import, and note what was committed, also of a stream that broke off. An error is given, not raised: out of a
    task group it would come in a group of errors."""
    committed = Summary()
    error: CalldexError | None = None

    def count(summary: Summary) -> None:
        nonlocal committed
        committed = summary

    try:
        try:
            committed = node.ingest.run(feed, pieces, origin, count)
            node.settle_calls()
        except _Gone:
            error = _broken_off(node)
        except CalldexError as failure:
            error = failure
        status = error.status if error else 200
        note_ingest(node, feed.account_id, feed.source or feed.format.name, committed, status)
    except CalldexError as failure:
        error = failure
    if error and committed.read:  # whatever it says of the rest
        kept = f"{committed.read:,} pieces of this import were committed"
        error.message += f"; before that, {kept}, and are kept"
    return error or committed


def _broken_off(node: Node) -> CalldexError:
    if node.stopping.is_set():
        return Unavailable(
            "the server was stopped before the end of the import; the same can be imported again", retry_after=5
        )
    return BadRequest("the stream ended before its end")


async def _end_when_stopping(node: Node, send: MemoryObjectSendStream[bytes]) -> None:
    """Let no import keep a server from stopping, which may take hours: it ends after the batch in hand."""
    while not node.stopping.is_set():  # noqa: ASYNC110 - which is no event of this loop
        await anyio.sleep(_LOOK_S)
    send.close()


async def _read_ahead(request: Request, send: MemoryObjectSendStream[bytes]) -> None:
    """The body in large pieces, and an empty one at its end; nothing more if the sender leaves."""
    with send:
        try:
            async for piece in _gathered(request.stream()):
                await send.send(piece)
            await send.send(b"")
        except (ClientDisconnect, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return


async def _gathered(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    held: list[bytes] = []
    size = 0
    async for part in parts:
        held.append(part)
        size += len(part)
        if size >= PIECE:
            yield b"".join(held)
            held, size = [], 0
    if size:
        yield b"".join(held)


def _pieces(receive: MemoryObjectReceiveStream[bytes]) -> Iterator[bytes]:
    """For a thread: the pieces as they come. Raises `_Gone` if they stop without the empty one that ends them."""
    while True:
        try:
            piece = anyio.from_thread.run(receive.receive)
        except (anyio.EndOfStream, asyncio.CancelledError, concurrent.futures.CancelledError):
            raise _Gone from None
        if not piece:
            return
        yield piece
