"""Who takes pushes: by Standard Webhooks, or as Kommo or Pipedrive do."""

from __future__ import annotations

from typing import Any

from tests.sync.vendors.server import Answer, Request, Vendor


class Inbox(Vendor):
    """Keeps what came, by its `webhook-id`."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[str, Request] = {}

    def answer(self, request: Request) -> Answer:
        """See `Vendor`."""
        if request.method == "OPTIONS":
            return Answer(405)
        self.messages.setdefault(request.headers.get("webhook-id", str(len(self.messages))), request)
        return Answer(200, {"taken": True})


class Kommo(Vendor):
    """Adds calls whose number somebody has, and says of the others that it did not."""

    def __init__(self, known: set[str]) -> None:
        super().__init__()
        self.known = known
        self.calls: dict[str, dict[str, Any]] = {}

    def answer(self, request: Request) -> Answer:
        """See `Vendor`."""
        if request.headers.get("authorization") != "Bearer hush" or request.path != "/api/v4/calls":
            return Answer(401, {"title": "Unauthorized"})
        errors = []
        for one in request.body:
            if not isinstance(one["duration"], int) or one["call_status"] not in range(1, 8) or not one["source"]:
                return Answer(400, {"title": "Bad Request", "detail": "Request validation failed"})
            if one["phone"] in self.known:
                self.calls[one["uniq"]] = one
            else:
                errors.append({"request_id": one["request_id"], "title": "Entity not found", "status": 263})
        return Answer(200, {"_total_items": len(request.body) - len(errors), "errors": errors})


class Pipedrive(Vendor):
    """Call logs, each with an id of Pipedrive's own."""

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[str, dict[str, Any]] = {}

    def answer(self, request: Request) -> Answer:
        """See `Vendor`."""
        if request.headers.get("x-api-token") != "hush":
            return Answer(401, {"success": False, "error": "unauthorized access"})
        if request.method == "DELETE":
            found = self.logs.pop(request.path.rpartition("/")[2], None)
            return Answer(200, {"success": True}) if found else Answer(404, {"success": False, "error": "not found"})
        outcomes = ("connected", "no_answer", "left_message", "left_voicemail", "wrong_number", "busy")
        if request.body["outcome"] not in outcomes or not request.body["to_phone_number"]:
            return Answer(400, {"success": False, "error": "Bad request"})
        id_ = f"cl_{len(self.requests)}"
        self.logs[id_] = request.body
        return Answer(200, {"success": True, "data": {"id": id_, **request.body}})
