"""HubSpot as it is published: the date-versioned CRM API of calls, contacts, properties and associations."""

from __future__ import annotations

import re
from typing import Any, Final

from tests.sync.vendors.server import Answer, Request, Vendor, Window

_V: Final = "2026-03"
_CALL_PROPERTIES: Final = frozenset(
    (
        *("calldex_uuid", "hs_timestamp", "hs_call_title", "hs_call_body", "hs_call_direction", "hs_call_duration"),
        *("hs_call_from_number", "hs_call_to_number", "hs_call_status", "hubspot_owner_id"),
    )
)
_STATUSES: Final = ("BUSY", "CANCELED", "COMPLETED", "FAILED", "NO_ANSWER")


def _error(status: int, message: str, category: str = "VALIDATION_ERROR") -> Answer:
    return Answer(status, {"status": "error", "message": message, "correlationId": "0", "category": category})


class HubSpot(Vendor):
    """The account: its calls and contacts by id, and which call belongs to which contacts."""

    def __init__(self, limit: int = 100, window_s: float = 10) -> None:
        super().__init__()
        self.calls: dict[str, dict[str, Any]] = {}
        self.contacts: dict[str, dict[str, Any]] = {}
        self.associations: set[tuple[str, str]] = set()
        self.unique: dict[str, Any] | None = None
        self.bad: set[str] = set()
        self.partly: set[str] = set()
        self._window, self._searches = Window(limit, window_s), Window(5, 1)
        self._next = 1000

    def contact(self, phone: str, created: str, mobile: str = "") -> str:
        """Somebody is there already."""
        return self._contact({"phone": phone, "mobilephone": mobile, "createdate": created})

    def _contact(self, properties: dict[str, Any]) -> str:
        self._next += 1
        self.contacts[str(self._next)] = properties
        return str(self._next)

    def limit(self, request: Request) -> Answer | None:
        """See `Vendor`."""
        searching = request.path.endswith("/search")
        wait = (self._searches if searching else self._window).admit(request.at)
        if not wait:
            return None
        policy = "SECONDLY" if searching else "TEN_SECONDLY_ROLLING"
        body = {"status": "error", "message": "You have reached your limit.", "policyName": policy}
        return Answer(429, body, {"retry-after": f"{wait:.3f}"})

    def answer(self, request: Request) -> Answer:
        """See `Vendor`."""
        if request.headers.get("authorization") != "Bearer pat-1":
            return _error(401, "Authentication credentials not found.", "INVALID_AUTHENTICATION")
        found = self._routed(request)
        headers = {
            "x-hubspot-ratelimit-max": str(self._window.limit),
            "x-hubspot-ratelimit-interval-milliseconds": str(round(self._window.window_s * 1000)),
        }
        return Answer(found.status, found.body, {} if request.path.endswith("/search") else headers)

    def _routed(self, request: Request) -> Answer:
        properties = f"/crm/properties/{_V}/calls"
        if (request.method, request.path) == ("GET", f"{properties}/calldex_uuid"):
            return Answer(200, self.unique) if self.unique else _error(404, "no such property", "OBJECT_NOT_FOUND")
        if (request.method, request.path) == ("POST", properties):
            self.unique = request.body
            return Answer(201, self.unique)
        if not request.path.startswith((f"/crm/objects/{_V}/", f"/crm/associations/{_V}/")):
            return _error(404, "no such path")
        inputs = request.body.get("inputs", [])
        match request.path.split("/", 4)[4]:
            case "contacts/search":
                return self._search(request.body)
            case _ if not 1 <= len(inputs) <= 100:
                return _error(400, f"inputs has {len(inputs)} entries; 1 to 100 are allowed")
            case "calls/batch/upsert":
                return self._upsert(inputs)
            case "calls/batch/read":
                wanted = {one["id"] for one in inputs}
                found = [self._call(id_) for id_, call in self.calls.items() if call["calldex_uuid"] in wanted]
                return Answer(200, {"status": "COMPLETE", "results": found})
            case "calls/batch/archive":
                for one in inputs:
                    self.calls.pop(one["id"], None)
                return Answer(204)
            case "contacts/batch/create":
                made = [self._contact({**one["properties"], "createdate": "2026-11-01T00:00:00Z"}) for one in inputs]
                results = [{"id": id_, "properties": self.contacts[id_]} for id_ in made]
                return Answer(201, {"status": "COMPLETE", "results": results})
            case "calls/contacts/batch/create":
                return self._associate(inputs)
        return _error(404, "no such path")

    def _call(self, id_: str, **more: Any) -> dict[str, Any]:
        return {"id": id_, "properties": self.calls[id_], "archived": False, **more}

    def _upsert(self, inputs: list[dict[str, Any]]) -> Answer:
        if self.unique is None or not self.unique["hasUniqueValue"]:
            return _error(400, "idProperty calldex_uuid is not unique")
        if len({one["id"] for one in inputs}) < len(inputs):
            return _error(400, "duplicate ids in one batch")
        for one in inputs:
            properties = one["properties"]
            wrong = properties.keys() - _CALL_PROPERTIES
            if wrong or one["idProperty"] != "calldex_uuid" or "hs_timestamp" not in properties:
                return _error(400, f"Property values were not valid: {sorted(wrong)}")
            if properties["hs_call_direction"] not in ("INBOUND", "OUTBOUND"):
                return _error(400, "hs_call_direction is not valid")
            if properties["hs_call_status"] not in _STATUSES or not properties["hs_call_duration"].isdigit():
                return _error(400, "hs_call_status or hs_call_duration is not valid")
            if one["id"] in self.bad:
                return _error(400, f"{one['id']} was not valid")
        results, errors = [], []
        for one in inputs:
            if one["id"] in self.partly:
                context = {"objectWriteTraceId": [one["objectWriteTraceId"]]}
                errors.append({"category": "CONFLICT", "message": "cannot be written", "context": context})
                continue
            known = {call["calldex_uuid"]: id_ for id_, call in self.calls.items()}
            id_ = known.get(one["id"])
            new = id_ is None
            if id_ is None:
                self._next += 1
                id_ = str(self._next)
            self.calls[id_] = {**self.calls.get(id_, {}), **one["properties"]}
            results.append(self._call(id_, new=new, objectWriteTraceId=one["objectWriteTraceId"]))
        body = {"status": "COMPLETE", "results": results}
        return Answer(207, {**body, "numErrors": len(errors), "errors": errors}) if errors else Answer(200, body)

    def _associate(self, inputs: list[dict[str, Any]]) -> Answer:
        errors = []
        for one in inputs:
            if one["types"] != [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 194}]:
                return _error(400, "no such type of association")
            call, contact = one["from"]["id"], one["to"]["id"]
            if call in self.calls and contact in self.contacts:
                self.associations.add((self.calls[call]["calldex_uuid"], contact))
            else:
                context = {"fromObjectId": [call], "toObjectId": [contact]}
                errors.append({"category": "OBJECT_NOT_FOUND", "message": "gone", "context": context})
        return Answer(207 if errors else 201, {"status": "COMPLETE", "results": [], "errors": errors})

    def _search(self, body: dict[str, Any]) -> Answer:
        if len(body["filterGroups"]) > 5 or body["limit"] > 200:
            return _error(400, "too many filter groups, or too large a page")
        found = []
        for id_, one in () if self.hidden else self.contacts.items():
            for group in body["filterGroups"]:
                (only,) = group["filters"]
                name = {"hs_searchable_calculated_phone_number": "phone"}.get(only["propertyName"], "mobilephone")
                digits = re.sub(r"\D", "", one.get(name) or "")
                local = digits.removeprefix("44").removeprefix("0")  # this account's numbers are British
                if only["operator"] == "IN" and local in only["values"]:
                    found.append({"id": id_, "properties": {key: one.get(key) for key in body["properties"]}})
                    break
        start = int(body.get("after", 0))
        page = found[start : start + body["limit"]]
        more = {"paging": {"next": {"after": str(start + len(page))}}} if start + len(page) < len(found) else {}
        return Answer(200, {"total": len(found), "results": page, **more})
