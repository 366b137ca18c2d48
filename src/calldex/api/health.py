"""Whether the process lives, whether it can answer, and what it measured. Needs no key and tells nothing of anybody."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.api.metrics import MEDIA_TYPE, Metrics
from calldex.api.reply import JSON, Unready, error_members, error_reply
from calldex.errors import StoreNotReady
from calldex.node import Node

_HEADERS: Final = {"Cache-Control": "no-store"}


class Health:
    """The handlers, over a node."""

    def __init__(self, node: Node, metrics: Metrics) -> None:
        self._store = node.store
        self._metrics = metrics

    async def alive(self, _: Request) -> Response:
        """The process lives."""
        return Response(b'{"status":"ok"}', 200, _HEADERS, JSON)

    async def ready(self, request: Request) -> Response:
        """Searches are answered; if not, how far the store has come."""
        state = self._store.state()
        if state.ready:
            return Response(msgspec.json.encode(state), 200, _HEADERS, JSON)
        error = StoreNotReady(f"searches cannot be answered yet: {state.reason}", retry_after=2)
        request_id = request.scope["calldex.request_id"]
        members = error_members(error, request_id)
        told = Unready(**msgspec.structs.asdict(members), **msgspec.structs.asdict(state))
        return error_reply(error, request_id, told)

    async def metrics(self, _: Request) -> Response:
        """What was measured, as Prometheus reads it."""
        return Response(self._metrics.text(), 200, {**_HEADERS, "Content-Type": MEDIA_TYPE})
