"""Whether the process lives, whether it can answer, and what it measured. Needs no key: the first two tell nothing of
anybody, the last is for the networks of a setting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.api.endpoint import Endpoint
from calldex.errors import CalldexError, Forbidden, StoreNotReady
from calldex.node import Node
from calldex.transport.metrics import MEDIA_TYPE, Metrics
from calldex.transport.replies import JSON, Component, Readiness, Unready, error_members, error_reply
from calldex.transport.requests import address_of

PATIENCE_S: Final = 3.0
"""How long a part may take to say how it is; one that takes longer is down."""
_HEADERS: Final = {"Cache-Control": "no-store"}


class _Condition(NamedTuple):
    """Whether a part is down, and what is wrong with it, as it may be with one that is not."""

    down: bool
    reason: str | None


class _Asked:
    """A part of the node that is asked how it is, in a thread; only once at a time, however many want to know."""

    def __init__(self, ask: Callable[[], str | None]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[_Condition] | None = None

    async def condition(self) -> _Condition:
        """How it is."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(asyncio.to_thread(self._answer))
        asking = self._asking
        done, _ = await asyncio.wait({asking}, timeout=PATIENCE_S)
        return asking.result() if done else _Condition(True, f"it did not answer within {PATIENCE_S:g} s")

    def _answer(self) -> _Condition:
        try:
            return _Condition(False, self._ask())
        except CalldexError as error:
            return _Condition(True, error.message)


class Alive(msgspec.Struct, frozen=True):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Health:
    """The handlers, over a node."""

    def __init__(self, node: Node, metrics: Metrics) -> None:
        self._node = node
        self._store = _Asked(node.store.answers)
        self._directory = _Asked(node.directory.answers)
        self._metrics = metrics

    async def alive(self, _: Request) -> Response:
        """The process lives."""
        return Response(msgspec.json.encode(Alive()), 200, _HEADERS, JSON)

    async def ready(self, request: Request) -> Response:
        """Everything is answered; if not, which part is down, and how far the store has come."""
        found = await self._readiness()
        if found.ready:
            return Response(msgspec.json.encode(found), 200, _HEADERS, JSON)
        error = StoreNotReady(f"not everything can be answered now: {found.reason}", retry_after=2)
        request_id = request.scope["calldex.request_id"]
        members = error_members(error, request_id)
        reply = Unready(**msgspec.structs.asdict(members), **msgspec.structs.asdict(found))
        return error_reply(error, request_id, reply)

    async def metrics(self, request: Request) -> Response:
        """What was measured, as Prometheus reads it, for whom the setting names."""
        through = {"forwarded", "x-forwarded-for"} & set(request.headers)
        # What a proxy forwards that is not trusted came from anywhere.
        known = not through or request.client is None or request.client.host in self._node.settings.trusted_proxies
        if not known or address_of(request) not in self._node.settings.metrics_networks:
            raise Forbidden("only the networks in the setting metrics_networks may read the metrics")
        self._metrics.ready.set((await self._readiness()).ready)
        text = await asyncio.to_thread(self._metrics.text)
        return Response(text, 200, {**_HEADERS, "Content-Type": MEDIA_TYPE})

    async def _readiness(self) -> Readiness:
        store, directory = await asyncio.gather(self._store.condition(), self._directory.condition())
        state = self._node.store.state()
        if not state.ready:
            store = _Condition(True, state.reason or "it cannot answer")
        parts: dict[Component, _Condition] = {"store": store, "directory": directory}
        down = tuple(part for part, each in parts.items() if each.down)
        return Readiness(
            ready=not down,
            down=down,
            left_percent=state.left_percent,
            reason="; ".join(f"{part}: {each.reason}" for part, each in parts.items() if each.reason) or None,
        )


ENDPOINTS: Final = (
    Endpoint(
        path="/healthz",
        handler=lambda handlers: handlers.health.alive,
        id="alive",
        tag="Health",
        summary="The process lives",
        description="Always 200.",
        gives=Alive,
    ),
    Endpoint(
        path="/readyz",
        handler=lambda handlers: handlers.health.ready,
        id="ready",
        tag="Health",
        summary="Everything is answered",
        description=(
            "503 with the parts that are down: `store`, also while it catches up after a start (searches by `uuid` are"
            " answered all the time), or `directory`."
        ),
        gives=Readiness,
        errors=(500, 503),
    ),
    Endpoint(
        path="/metrics",
        handler=lambda handlers: handlers.health.metrics,
        id="metrics",
        tag="Health",
        summary="What the server measured",
        description="For Prometheus.",
        gives=str,
        media_type="text/plain",
    ),
)
