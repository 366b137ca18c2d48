"""Zendesk as it is published: calls of Talk Partner Edition, one a request, and users."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import datetime
from typing import Any, Final

from tests.sync.vendors.server import Answer, Request, Vendor, Window

_SHOWN: Final = "Basic " + b64encode(b"ann@example.com/token:hush").decode()
_MANDATORY: Final = ("app_id", "from_line", "to_line", "call_started_at", "direction")
_OPTIONAL: Final = ("call_ended_at", "call_disposition", "completion_status", "agent_id", "end_user_id")
_COMPLETIONS: Final = ("completed", "abandoned_in_queue", "abandoned_in_ivr", "abandoned_in_voicemail")


class Zendesk(Vendor):
    """The account: its calls and users by id."""

    def __init__(self, limit: int = 700, window_s: float = 60) -> None:
        super().__init__()
        self.calls: dict[str, dict[str, Any]] = {}
        self.users: dict[int, dict[str, Any]] = {}
        self._window = Window(limit, window_s)

    def user(self, phone: str, created: str) -> int:
        """Somebody is there already."""
        id_ = 9000 + len(self.users)
        self.users[id_] = {"id": id_, "phone": phone, "created_at": created, "role": "end-user"}
        return id_

    def limit(self, request: Request) -> Answer | None:
        """See `Vendor`."""
        wait = self._window.admit(request.at)
        return Answer(429, {"error": "TooManyRequests"}, {"retry-after": f"{wait:.3f}"}) if wait else None

    def answer(self, request: Request) -> Answer:
        """See `Vendor`."""
        if request.headers.get("authorization") != _SHOWN:
            return Answer(401, {"error": "Couldn't authenticate you"})
        found = self._routed(request)
        per_minute = round(self._window.limit * 60 / self._window.window_s)
        return Answer(found.status, found.body, {"x-rate-limit": str(per_minute)})

    def _routed(self, request: Request) -> Answer:
        match request.method, request.path.removeprefix("/api/v2/"):
            case "GET", "users/me":
                return Answer(200, {"user": {"id": 1, "role": "admin"}})
            case "GET", "users/search":
                return self._search(request.query)
            case "POST", "users":
                user = request.body["user"]
                id_ = self.user(user["phone"], "2026-11-01T00:00:00Z")
                return Answer(201, {"user": self.users[id_]})
            case "POST", "calls":
                lacking = [name for name in _MANDATORY if request.body.get(name) is None]
                return self._written(str(len(self.calls) + 1), request.body, lacking, 201)
        _, _, name = request.path.partition("/api/v2/calls/")
        if request.method == "PATCH" and name:
            if name not in self.calls:
                return Answer(404, {"error": "RecordNotFound", "description": "Not found"})
            lacking = ["app_id is read-only"] if "app_id" in request.body else []
            return self._written(name, {**self.calls[name], **request.body}, lacking, 200)
        return Answer(404, {"error": "InvalidEndpoint", "description": "Not found"})

    def _written(self, id_: str, call: dict[str, Any], lacking: list[str], status: int) -> Answer:
        wrong = lacking + sorted(call.keys() - {*_MANDATORY, *_OPTIONAL})
        if call.get("direction") not in ("inbound", "outbound"):
            wrong.append("direction")
        if call.get("completion_status") not in (None, *_COMPLETIONS):
            wrong.append("completion_status")
        if not isinstance(call.get("end_user_id", 0), int) or call.get("end_user_id", 9000) not in {9000, *self.users}:
            wrong.append("end_user_id")
        if wrong:
            details = {name: [{"description": "is not valid"}] for name in wrong}
            return Answer(422, {"error": "RecordInvalid", "description": "Validation errors", "details": details})
        datetime.fromisoformat(call["call_started_at"])
        self.calls[id_] = call
        return Answer(status, {"call": {"id": id_, **call}})

    def _search(self, query: dict[str, str]) -> Answer:
        wanted = re.findall(r"phone:(\+\d+)", query["query"])
        found = [user for user in self.users.values() if not self.hidden and user["phone"].replace(" ", "") in wanted]
        return Answer(200, {"users": found, "next_page": None, "count": len(found)})
