"""The way from a command to the node of its data directory.

If a process serves the directory, requests go over its socket file; else the command opens the node itself and asks the
same app in its own process. What is asked and what comes back is the same.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2
import msgspec

from calldex.admin.care import check_all, list_accounts
from calldex.admin.verb import MOST_PER_PAGE, Call, Listing, Nothing, Paging, gives, name_of
from calldex.api.control import Import, control
from calldex.api.frames import Frame, Kind, unpacked
from calldex.api.owners_search import Found, Search
from calldex.check import Checked, of_files
from calldex.cli.inprocess import InProcess
from calldex.cli.options import resolved
from calldex.cli.output import say
from calldex.cli.process import prepare
from calldex.datadir import SOCKET_FILE, is_made
from calldex.errors import (
    CalldexError,
    DataDirInUse,
    Problem,
    StoreNotReady,
    Unavailable,
    UnreadableInput,
    UsageProblem,
)
from calldex.ingest.pipeline import Summary
from calldex.node import Node
from calldex.records.record import NamedKind
from calldex.settings import Settings
from calldex.texts import is_whole

PATIENCE_S: Final = 10.0
"""How long to wait for the owner of a data directory that does not answer: a server that starts, a short command."""
_PAUSE_S: Final = 0.1
STANDSTILL_S: Final = 300.0
"""Searches that cannot be answered yet are waited for, unless for so long nothing comes nearer."""
_TOLD_EVERY_S: Final = 10.0

T = TypeVar("T")
G = TypeVar("G")
L = TypeVar("L", bound=Paging)


class _ErrorReply(msgspec.Struct):
    error: str
    type: str
    problems: tuple[Problem, ...] = ()


def _not_whole() -> UsageProblem:
    return UsageProblem("what was typed is not UTF-8 throughout; type it in a terminal whose locale is")


def _encoded(given: object) -> bytes:
    try:
        return msgspec.json.encode(given)
    except UnicodeEncodeError:
        raise _not_whole() from None


def _whole(parameters: dict[str, Any]) -> dict[str, Any]:
    if not all(map(is_whole, parameters.values())):
        raise _not_whole()
    return parameters


class Control:
    """Asks a node. Every method raises what the node raises, and `Unavailable` when the server goes away."""

    def __init__(self, runner: asyncio.Runner, client: httpx2.AsyncClient) -> None:
        self._runner = runner
        self._client = client

    def do(
        self,
        work: Callable[[Call, G], T],
        given: G,
        *,
        account: str | None = None,
        subject: str = "",
        kind: NamedKind | None = None,
    ) -> T:
        """What comes of a verb of the administration; without an account, that of the subject."""
        parameters = {"subject": subject} | ({} if account is None else {"account": account})
        content = given if isinstance(given, bytes) else _encoded(given)
        path = f"/verbs/{name_of(work, kind)}"
        body = self._reply(self._client.post(path, params=_whole(parameters), content=content))
        made: T = msgspec.json.decode(body, type=gives(work))
        return made

    def search(self, wanted: Search) -> Found:
        """A page of a search; see `when_ready`."""
        content = _encoded(wanted)
        body = when_ready(lambda: self._reply(self._client.post("/search", content=content)))
        return msgspec.json.decode(body, type=Found)

    def accounts(self) -> list[str]:
        """The names of all accounts."""
        return [account.name for account in self.do(list_accounts, Nothing())]

    def every(
        self,
        work: Callable[[Call, L], Listing[T]],
        wanted: L,
        *,
        account: str | None = None,
        subject: str = "",
        kind: NamedKind | None = None,
    ) -> list[T]:
        """All that a verb lists, page by page."""
        found: list[T] = []
        while True:
            page = len(found) // MOST_PER_PAGE + 1
            part = msgspec.structs.replace(wanted, page=page, per_page=MOST_PER_PAGE)
            listing = self.do(work, part, account=account, subject=subject, kind=kind)
            found += listing.items
            if len(found) >= listing.total or not listing.items:
                return found

    def send(self, asked: Import, chunks: Iterable[bytes]) -> Summary:
        """Import a stream of bytes. Raises as well what `chunks` raises; what was sent before is imported then only as
        far as it was committed."""
        parameters = {name: value for name, value in msgspec.structs.asdict(asked).items() if value is not None}
        body = self._reply(self._client.post("/import", params=_whole(parameters), content=_streamed(chunks)))
        return msgspec.json.decode(body, type=Summary)

    @contextmanager
    def export(self, wanted: Search) -> Iterator[tuple[int, Iterator[tuple[int, bytes]]]]:
        """How many records there are, and the pieces of a file of them, with how many records each is about. Raises
        what the node raises, on the way as well; `Unavailable` if it stops without saying so. See `when_ready`."""
        content = _encoded(wanted)
        response = when_ready(lambda: self._begun(content))
        try:
            frames = unpacked(response.aiter_bytes())
            begin = self._frame(frames)
            yield begin.records, self._pieces(frames)
        finally:
            self._runner.run(response.aclose())

    def _begun(self, content: bytes) -> httpx2.Response:
        request = self._client.build_request("POST", "/export", content=content)
        response = self._run(self._client.send(request, stream=True))
        if not response.is_success:
            self._run(response.aread())
            raise self._refusal(response)
        return response

    def _pieces(self, frames: AsyncIterator[Frame]) -> Iterator[tuple[int, bytes]]:
        while (frame := self._frame(frames)).kind is not Kind.END:
            yield frame.records, frame.content

    def _frame(self, frames: AsyncIterator[Frame]) -> Frame:
        frame = self._run(_next_frame(frames))
        if frame is None:
            raise Unavailable("the server that owns the data directory stopped in the middle; try again")
        if frame.kind is Kind.ERROR:
            raise _raised(msgspec.json.decode(frame.content, type=_ErrorReply))
        return frame

    def _reply(self, request: Coroutine[Any, Any, httpx2.Response]) -> bytes:
        response = self._run(request)
        if response.is_success:
            return response.content
        raise self._refusal(response)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._runner.run(work)
        except httpx2.TransportError as error:
            why = str(error) or type(error).__name__
            raise Unavailable(f"the server that owns the data directory went away ({why}); try again") from error

    @staticmethod
    def _refusal(response: httpx2.Response) -> CalldexError:
        try:
            reply = msgspec.json.decode(response.content, type=_ErrorReply)
        except msgspec.DecodeError:
            raise CalldexError(
                f"the server that owns the data directory answered {response.status_code} to {response.url.path};"
                " if it is of another version, restart it. Its log tells more"
            ) from None
        return _raised(reply)


def when_ready(ask: Callable[[], T]) -> T:
    """What is asked for, as soon as searches can be answered: after a restore the columns are made first, and who has
    no server makes them by this command. Raises `StoreNotReady` when that stands still."""
    heard, since, told = "", 0.0, -_TOLD_EVERY_S
    while True:
        try:
            return ask()
        except StoreNotReady as error:
            now = time.monotonic()
            if error.message != heard:
                heard, since = error.message, now
                if now - told >= _TOLD_EVERY_S:
                    say(f"Waiting: {heard}")
                    told = now
            elif now - since > STANDSTILL_S:
                raise
        time.sleep(_PAUSE_S)


async def _next_frame(frames: AsyncIterator[Frame]) -> Frame | None:
    return await anext(frames, None)


async def _streamed(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    """The chunks, none of which is empty."""
    left = iter(chunks)
    while chunk := await _next(left):
        yield chunk


async def _next(left: Iterator[bytes]) -> bytes:
    """The next chunk, empty if there is none. A pipe may let its reader wait for ever, and neither Ctrl-C nor the end
    of the process must wait with them: a thread fetches it that nobody waits for."""
    loop = asyncio.get_running_loop()
    fetched: asyncio.Future[bytes] = loop.create_future()

    def fetch() -> None:
        try:
            give = partial(fetched.set_result, next(left, b""))
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who waits
            give = partial(fetched.set_exception, error)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(lambda: fetched.done() or give())

    threading.Thread(target=fetch, daemon=True).start()
    return await fetched


def _raised(reply: _ErrorReply) -> CalldexError:
    """The error that the node raised."""
    kinds: list[type[CalldexError]] = [CalldexError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    code = reply.type.rpartition(":")[2]
    kind = next((kind for kind in kinds if kind.code == code), CalldexError)
    error = kind.__new__(kind)  # their constructors differ, what they make does not
    CalldexError.__init__(error, reply.error, problems=reply.problems)
    return error


@contextmanager
def connected(data: Path | None, *, new: bool = False) -> Iterator[Control]:
    """The control of a data directory; `new` makes the directory if there is none.

    Raises `UnreadableInput` if there is none or it may not be used, `DataDirInUse` if its owner does not answer.
    """
    settings, origins = resolved(data)
    if not new and not is_made(settings):
        raise _none_at(settings)
    prepare(settings, origins, serving=False)
    with _transport(settings) as transport, asyncio.Runner() as runner:
        # An import or a check takes as long as it takes; a server that goes away ends the connection.
        forever = httpx2.Timeout(None)
        client = httpx2.AsyncClient(transport=transport, base_url="http://calldex", timeout=forever, trust_env=False)
        try:
            yield Control(runner, client)
        finally:
            runner.run(client.aclose())


def checked(data: Path | None) -> Checked:
    """What a check of a data directory finds: its server does that, or else the files are looked at.

    Raises `UnreadableInput` if there is none, or files of it are lost or do not belong together; `DataDirInUse`.
    """
    settings, origins = resolved(data)
    if not is_made(settings):
        raise _none_at(settings)
    prepare(settings, origins, serving=False)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with _served(settings.data) as path:
            served = path is not None
        try:
            if served:
                with connected(data) as control:
                    return control.do(check_all, Nothing())
            return of_files(settings)
        except DataDirInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)


def _none_at(settings: Settings) -> UnreadableInput:
    return UnreadableInput(
        f"there is no data directory at {settings.data}; name it with --data, or make one with `calldex serve`,"
        " `demo` or `import`"
    )


@contextmanager
def _transport(settings: Settings) -> Iterator[httpx2.AsyncBaseTransport]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with _served(settings.data) as path:
            if path is not None:
                yield httpx2.AsyncHTTPTransport(uds=path)
                return
        try:
            node = Node(settings)
        except DataDirInUse as error:
            if time.monotonic() > deadline:
                raise DataDirInUse(f"{error.message}. It does not answer: is it another command, or stuck?") from None
            time.sleep(_PAUSE_S)
            continue
        with node:
            if node.is_new:
                say(f"{settings.data} is a new data directory.")
            yield InProcess(control(node))
            return


@contextmanager
def _served(data: Path) -> Iterator[str | None]:
    """The path of the socket of the server that owns a data directory; None if there is none that answers."""
    try:
        folder = os.open(data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        # Through the folder's descriptor, since the address of such a socket must not exceed 107 bytes.
        path = f"/proc/self/fd/{folder}/{SOCKET_FILE}"
        answers = False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
            try:
                trial.connect(path)
                answers = True
            except (FileNotFoundError, ConnectionError):
                pass
            except PermissionError:
                raise UnreadableInput(
                    f"{data / SOCKET_FILE} belongs to another user; only its owner may use it"
                ) from None
        yield path if answers else None
    finally:
        os.close(folder)
