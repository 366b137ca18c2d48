"""Serving: the public app on a TCP port, by TLS if there is a certificate, and the control app on a socket file in the
data directory, in one loop.

One signal ends both: no new connections, requests that run get their time to finish, then everything closes. SIGHUP
reads the certificate again; without one `calldex serve` ignores it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from traceback import format_exc
from typing import Final

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from calldex.api.app import public
from calldex.datadir import SOCKET_FILE
from calldex.errors import BadSettings, CalldexError, PortTaken, Problem
from calldex.jobs.exports import ExportJobs
from calldex.node import Node
from calldex.settings import Settings
from calldex.transport.backpressure import Backpressure
from calldex.transport.listener import Listener
from calldex.transport.metrics import Metrics
from calldex.transport.protocol import BoundedHttp
from calldex.transport.tls import Certificate

HOUSEKEEPING_S: Final = 60.0
_BACKLOG: Final = 1024
_KEEP_ALIVE_S: Final = 60
_OTHER_FILES: Final = 500
"""How many files a server has open beside its connections, at most."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_log = structlog.get_logger(__name__)


def serve(node: Node, control: ASGIApp, *, announce: Callable[[str], None]) -> None:
    """Serve a node until a SIGTERM or SIGINT, and return when everything that ran has ended.

    `announce` gets the base URL as soon as connections are accepted. Raises `PortTaken`, or `BadSettings` for an
    address that cannot be listened on and a certificate that cannot be used.
    """
    settings = node.settings
    certificate = Certificate.of(settings)
    _allow_files(settings.max_connections)
    with contextlib.ExitStack() as opened:
        port = opened.enter_context(_port(settings.host, settings.port))
        owner_socket = opened.enter_context(_socket_file(settings.data / SOCKET_FILE))
        app = public(node)
        listener = Listener(port, settings, app.state.metrics, certificate.context if certificate else None)
        servers = [
            (_PublicServer(_config(app, settings.shutdown_grace_s), listener, app), port),
            (_Server(_config(control, settings.shutdown_grace_s)), owner_socket),
        ]
        url = _base_url(port, "https" if certificate else "http")
        if certificate is not None:
            app.state.metrics.certificate_ends(certificate)

        def ready() -> None:
            _log.info("ready", url=url)
            announce(url)

        asyncio.run(_serve(node, servers, certificate, app.state.exporting, ready))
        _log.info("stopped")


async def _serve(
    node: Node,
    servers: Sequence[tuple[_Server, socket.socket]],
    certificate: Certificate | None,
    exporting: ExportJobs,
    ready: Callable[[], None],
) -> None:

    def stop(signal_name: str) -> None:
        """The first signal ends it well, the second one at once."""
        _log.info("stopping", signal=signal_name, at_once=servers[0][0].should_exit)
        node.stopping.set()
        for server, _ in servers:
            server.force_exit = server.should_exit
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number.name)
    if certificate is not None:
        loop.add_signal_handler(signal.SIGHUP, _reload, certificate)
    keeping = asyncio.create_task(_keep_house(node))
    making = asyncio.create_task(exporting.run())
    try:
        async with asyncio.TaskGroup() as group:
            for server, listening in servers:
                group.create_task(server.serve([listening]))
            await asyncio.gather(*(server.accepts.wait() for server, _ in servers))
            ready()
    finally:
        keeping.cancel()
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)
        for number in (*_SIGNALS, signal.SIGHUP):
            loop.remove_signal_handler(number)


def _reload(certificate: Certificate) -> None:
    try:
        certificate.reload()
        _log.info("certificate_reloaded")
    except BadSettings as error:
        _log.error("certificate_not_reloaded", reason=error.message)


async def _keep_house(node: Node) -> None:
    with contextlib.suppress(CalldexError):  # it is tried again
        await asyncio.to_thread(node.reserve)
    while True:
        await asyncio.sleep(HOUSEKEEPING_S)
        try:
            dropped = await asyncio.to_thread(node.housekeeping)
            if dropped:
                _log.info("superseded_versions_dropped", versions=dropped)
        except CalldexError as error:
            _log.warning("housekeeping_failed", error=error.message)
        except Exception:  # noqa: BLE001 -- it is tried again, and the log has the reason
            _log.error("housekeeping_failed", exception=format_exc())


class _Server(uvicorn.Server):
    """A server that leaves signals to us, and tells when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepts = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepts.set()


class _PublicServer(_Server):
    """One whose connections come in by our listener."""

    def __init__(self, config: uvicorn.Config, listener: Listener, app: Starlette) -> None:
        super().__init__(config)
        self._listener = listener
        metrics: Metrics = app.state.metrics
        self._cut = metrics.cut
        self._backpressure: Backpressure = app.state.backpressure

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.servers = [self._listener]  # type: ignore[list-item]  # it is closed as one of asyncio is
        self._listener.open(self._protocol)
        self.started = True
        self.accepts.set()

    def _protocol(self, left: Callable[[], None]) -> BoundedHttp:
        state = self.server_state, self.lifespan.state
        return BoundedHttp(self.config, *state, cut=self._cut, left=left, backpressure=self._backpressure)


def _config(app: ASGIApp, grace_s: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=BoundedHttp,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s,
    )


def _allow_files(connections: int) -> None:
    """Let the process open as many files as that takes, as far as the system permits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
        if possible < wanted:
            _log.warning("few_open_files", permitted=possible, wanted=wanted)


def check_port(settings: Settings) -> None:
    """Raise what `serve` would about its port, before there is anything to serve."""
    _port(settings.host, settings.port).close()


def _port(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except UnicodeError:
        raise BadSettings([Problem("host", host[:100], "is neither a host name nor an address")]) from None
    except socket.gaierror as error:
        raise BadSettings([Problem("host", host[:100], f"cannot be resolved: {error.strerror}")]) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} of {host} is taken by another program; name another with --port") from None
        name, given = ("port", str(port)) if error.errno == errno.EACCES else ("host", host[:100])
        raise BadSettings([Problem(name, given, f"cannot be listened on: {error.strerror}")]) from None
    # Accepted connections inherit it. Without, a short reply, sent as head and body, waits 40 ms for the client's ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


@contextlib.contextmanager
def _socket_file(path: Path) -> Iterator[socket.socket]:
    """A listening socket that only the owner of the data directory can reach. A file that is there already was left
    by a process that did not end well: the directory is locked, and it is ours."""
    path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            # Through the folder's descriptor, since the address of such a socket must not exceed 107 bytes.
            _bind(listening, f"/proc/self/fd/{folder}/{path.name}", path)
            path.chmod(0o600)
            listening.listen(_BACKLOG)
            yield listening
    finally:
        path.unlink(missing_ok=True)
        os.close(folder)


def _bind(listening: socket.socket, address: str, path: Path) -> None:
    try:
        listening.bind(address)
    except OSError as error:  # it names no file
        error.filename = str(path)
        raise


def _base_url(listening: socket.socket, scheme: str) -> str:
    host, port = listening.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if listening.family == socket.AF_INET6 else f"{scheme}://{host}:{port}"
