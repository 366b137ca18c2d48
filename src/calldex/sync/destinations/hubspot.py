"""HubSpot: calls of the date-versioned CRM API, known by a property of ours whose values are unique.

Limits: 100 calls a request; a private app 100 requests in 10 s or more, by plan, which HubSpot tells in the headers of
its answers; searching 5 a second. A batch with one bad value is refused whole (400) or answered in part (207).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

from msgspec import Meta

from calldex.sync.crm.base import Contact, Crm, CrmOptions, Item, Outcome, Took
from calldex.sync.crm.call import Call, e164, national
from calldex.sync.crm.http import Http, Pace, Refused
from calldex.sync.destinations import Failed, Url

VERSION: Final = "2026-03"
UNIQUE: Final = "calldex_uuid"
CALL_TO_CONTACT: Final = 194
"""HubSpot's own kind of association from a call to a contact."""
_CALLS: Final = f"/crm/objects/{VERSION}/calls"
_CONTACTS: Final = f"/crm/objects/{VERSION}/contacts"
_PROPERTY: Final = f"/crm/properties/{VERSION}/calls"
_NUMBERS: Final = {
    "phone": "hs_searchable_calculated_phone_number",
    "mobilephone": "hs_searchable_calculated_mobile_number",
}
_STATUS: Final = {"busy": "BUSY", "failed": "FAILED", "route_unavailable": "FAILED", "rejected": "CANCELED"}


class HubSpotOptions(CrmOptions, frozen=True, kw_only=True):
    """HubSpot's own options."""

    token: str
    """The access token of a private app with the scopes for calls, contacts and the schemas of calls."""
    url: Url = "https://api.hubapi.com"
    requests_per_10s: Annotated[int, Meta(ge=10, le=1000)] = 100
    """What the plan allows, until HubSpot tells it."""


class HubSpot(Crm):
    """The destination."""

    Options = HubSpotOptions
    vendor: ClassVar[str] = "HubSpot"
    size: ClassVar[int] = 100
    keyed: ClassVar[bool] = True
    find_size: ClassVar[int] = 50

    def connect(self) -> Http:
        """See `Crm`."""
        options: HubSpotOptions = self.options
        self._searching = Pace(5, sleep=self.context.pause)
        return Http(
            self.vendor,
            options.url,
            Pace(options.requests_per_10s / 10, sleep=self.context.pause),
            headers=lambda: {"Authorization": f"Bearer {options.token}"},
            reason=lambda body: str(body.get("message", "")) if isinstance(body, dict) else "",
            paced=_paced,
            timeout_s=options.timeout_s,
            tries=options.tries,
        )

    def prepare(self, *, make: bool) -> None:
        """See `Crm`: the property by which calls are known."""
        try:
            unique = self.http.send("GET", f"{_PROPERTY}/{UNIQUE}").told("hasUniqueValue")
        except Refused as refused:
            if refused.status != 404:
                raise
            made = make and self.http.send("POST", _PROPERTY, json=_UNIQUE_PROPERTY)
            unique = made.told("hasUniqueValue") if made else True
        if not unique:
            raise Refused(400, f"HubSpot's property {UNIQUE} of calls does not have unique values; delete it there")

    def payload(self, call: Call) -> Mapping[str, Any]:
        """See `Crm`."""
        caller, callee = call.own_e164 or call.own, call.customer_e164 or call.customer
        if call.direction == "inbound":
            caller, callee = callee, caller
        given = {
            UNIQUE: call.uuid,
            "hs_timestamp": call.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "hs_call_title": call.subject,
            "hs_call_body": call.notes,
            "hs_call_direction": call.direction.upper(),
            "hs_call_duration": str(call.duration_s * 1000),
            "hs_call_from_number": caller,
            "hs_call_to_number": callee,
            "hs_call_status": "COMPLETED" if call.answered else _STATUS.get(call.disposition, "NO_ANSWER"),
            "hubspot_owner_id": self.user(call),
        }
        return {name: value for name, value in given.items() if value is not None}

    def send(self, items: Sequence[Item]) -> Mapping[str, Outcome]:
        """See `Crm`."""
        inputs = [
            {"idProperty": UNIQUE, "id": uuid, "properties": item.payload, "objectWriteTraceId": uuid}
            for item in items
            for uuid in (item.call.uuid,)
        ]
        reply = self.http.send("POST", f"{_CALLS}/batch/upsert", json={"inputs": inputs})
        ids = {str(one["objectWriteTraceId"]): str(one["id"]) for one in reply.told("results")}
        outcomes: dict[str, Outcome] = {uuid: Took(id_) for uuid, id_ in ids.items()}
        outcomes |= _failed(reply.body, "objectWriteTraceId")
        with_contact = {ids[item.call.uuid]: item for item in items if item.contact and item.call.uuid in ids}
        if with_contact:
            outcomes |= self._associated(with_contact)
        return outcomes

    def _associated(self, items: Mapping[str, Item]) -> dict[str, Outcome]:
        """Put calls, given by HubSpot's id, to their contacts, and say of which it failed. What is there stays."""
        types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": CALL_TO_CONTACT}]
        inputs = [{"from": {"id": id_}, "to": {"id": item.contact}, "types": types} for id_, item in items.items()]
        path = f"/crm/associations/{VERSION}/calls/contacts/batch/create"
        reply = self.http.send("POST", path, json={"inputs": inputs})
        reply.told("results")
        outcomes: dict[str, Outcome] = {}
        for id_, failure in _failed(reply.body, "fromObjectId").items():
            uuid = items[id_].call.uuid
            outcomes[uuid] = Failed(uuid, failure.message, failure.retry)
        return outcomes

    def remove(self, known: Mapping[str, str | None]) -> Sequence[Failed]:
        """See `Crm`: they are archived, which HubSpot undoes within 90 days if asked."""
        wanted = {"idProperty": UNIQUE, "properties": [UNIQUE], "inputs": [{"id": uuid} for uuid in known]}
        found = self.http.send("POST", f"{_CALLS}/batch/read", json=wanted).told("results")
        inputs = [{"id": one["id"]} for one in found]
        if inputs:
            self.http.send("POST", f"{_CALLS}/batch/archive", json={"inputs": inputs})
        return ()

    def find(self, numbers: Sequence[str]) -> Sequence[Contact]:
        """See `Crm`. HubSpot searches numbers without their country code."""
        local = sorted({national(number) for number in numbers})
        groups = [
            {"filters": [{"propertyName": name, "operator": "IN", "values": local}]} for name in _NUMBERS.values()
        ]
        wanted: dict[str, Any] = {"filterGroups": groups, "properties": [*_NUMBERS, "createdate"], "limit": 200}
        found: list[Contact] = []
        while True:
            reply = self.http.send("POST", f"{_CONTACTS}/search", json=wanted, pace=self._searching)
            found += (_contact(one) for one in reply.told("results"))
            after = reply.body.get("paging", {}).get("next", {}).get("after")
            if after is None:
                return found
            wanted["after"] = after

    def make(self, numbers: Sequence[str]) -> Mapping[str, str]:
        """See `Crm`."""
        inputs = [{"properties": {"phone": number}, "objectWriteTraceId": number} for number in numbers]
        reply = self.http.send("POST", f"{_CONTACTS}/batch/create", json={"inputs": inputs}, again=False)
        people = {e164(one["properties"]["phone"], None): str(one["id"]) for one in reply.told("results")}
        return {number: id_ for number, id_ in people.items() if number}


_UNIQUE_PROPERTY: Final = {
    "name": UNIQUE,
    "label": "Calldex UUID",
    "groupName": "call",
    "type": "string",
    "fieldType": "text",
    "hasUniqueValue": True,
}


def _failed(body: Mapping[str, Any], member: str) -> dict[str, Failed]:
    """The failures that a reply lists, by what `member` of their context names."""
    return {
        str(name): Failed(str(name), f"HubSpot: {error.get('message', error.get('category', ''))}", retry=False)
        for error in body.get("errors", ())
        for name in error.get("context", {}).get(member, ())
    }


def _contact(one: Mapping[str, Any]) -> Contact:
    properties = one["properties"]
    numbers = [properties[name] for name in _NUMBERS if properties.get(name)]
    return Contact(str(one["id"]), numbers, properties.get("createdate") or "")


def _paced(pace: Pace, headers: Mapping[str, str]) -> None:
    limit, window_ms = headers.get("x-hubspot-ratelimit-max"), headers.get("x-hubspot-ratelimit-interval-milliseconds")
    if limit and window_ms:
        pace.set_limit(int(limit), int(window_ms) / 1000)
