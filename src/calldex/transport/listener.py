"""The listener: takes connections at the public port, as many as there may be, and leads each to its protocol.

A connection counts from the moment it is there, long before TLS has shaken hands or a request was read. Knows nothing
of what is said on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from calldex.errors import TooManyConnections
from calldex.networks import site_of
from calldex.settings import Settings
from calldex.transport.metrics import Metrics
from calldex.transport.protocol import bare_reply

HANDSHAKE_SECONDS: Final = 10.0
_GOODBYE_SECONDS: Final = 300.0
"""How long a connection with TLS may take to be closed; what is left of its reply has to be taken in this time."""
_AT_ONCE: Final = 100
_PAUSE_SECONDS: Final = 1.0
_log = structlog.get_logger(__name__)

MakeProtocol = Callable[[Callable[[], None]], asyncio.Protocol]
"""Makes the protocol of a connection; it calls the given function once when the connection has ended."""


class Listener:
    """A listening socket and the connections that came in by it. Has what uvicorn asks of a server of asyncio's."""

    def __init__(
        self, listening: socket.socket, settings: Settings, metrics: Metrics, tls: ssl.SSLContext | None
    ) -> None:
        self._listening = listening
        self._settings = settings
        self._metrics = metrics
        self._tls = tls
        self._by_site: Counter[str] = Counter()
        self._open = 0
        self._arriving: set[asyncio.Task[None]] = set()

    def open(self, make: MakeProtocol) -> None:
        """Take connections from now on."""
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._listening.setblocking(False)
        self._loop.add_reader(self._listening, self._take)

    def close(self) -> None:
        """Take no more."""
        self._loop.remove_reader(self._listening)
        if self._pause is not None:
            self._pause.cancel()
        for task in self._arriving:
            task.cancel()

    async def wait_closed(self) -> None:
        """Return when none is on its way in."""
        await asyncio.gather(*self._arriving, return_exceptions=True)

    def _take(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, peer = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                # No descriptors or no memory: it would fail again at once, until another connection has ended.
                _log.error("cannot_take_connections", reason=error.strerror)
                self._loop.remove_reader(self._listening)
                self._pause = self._loop.call_later(_PAUSE_SECONDS, self.open, self._make)
                return
            connection.setblocking(False)
            self._admit(connection, peer[0])

    def _admit(self, connection: socket.socket, address: str) -> None:
        site = "" if address in self._settings.trusted_proxies else site_of(address)
        most, each = self._settings.max_connections, self._settings.address_connections
        if self._open >= most:
            self._refuse(connection, "connections", f"connection limit reached: {most} are open")
        elif site and self._by_site[site] >= each:
            self._refuse(
                connection, "address_connections", f"connection limit of this address reached: {each} are open"
            )
        else:
            self._count(site, 1)
            task = self._loop.create_task(self._lead_in(connection, site))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    def _refuse(self, connection: socket.socket, limit: str, reason: str) -> None:
        self._metrics.limited(limit)
        with connection, contextlib.suppress(OSError):
            if self._tls is None:
                connection.send(bare_reply(TooManyConnections(reason, retry_after=1)))
                connection.shutdown(socket.SHUT_WR)
                # Bytes that nobody read would make the system take the reply back.
                connection.recv(65_536)

    async def _lead_in(self, connection: socket.socket, site: str) -> None:
        ended = False

        def end() -> None:
            nonlocal ended
            if not ended:
                ended = True
                self._count(site, -1)

        protocol = self._make(end)
        goodbye = _GOODBYE_SECONDS if self._tls is not None else None
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await self._loop.connect_accepted_socket(
                    lambda: protocol, connection, ssl=self._tls, ssl_shutdown_timeout=goodbye
                )
        except TimeoutError:
            self._metrics.cut("handshake")
            end()
        except OSError:
            end()  # no TLS, or not ours, or the client left
        except asyncio.CancelledError:
            end()
            raise

    def _count(self, site: str, change: int) -> None:
        self._open += change
        self._metrics.connections.set(self._open)
        self._by_site[site] += change
        if not self._by_site[site]:
            del self._by_site[site]
