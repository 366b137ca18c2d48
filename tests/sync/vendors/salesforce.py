"""Salesforce as it is published: sObject collections, queries, searches, and tokens that expire."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs

from tests.sync.vendors.server import Answer, Request, Vendor

_FIELDS: Final = {
    "Calldex_UUID__c": str,
    "Subject": str,
    "Description": str,
    "TaskSubtype": str,
    "Status": str,
    "CallType": str,
    "CallDurationInSeconds": int,
    "CallDisposition": str,
    "CallObject": str,
    "ActivityDate": str,
    "WhoId": str,
    "OwnerId": str,
}


def _error(status: int, code: str, message: str) -> Answer:
    return Answer(status, [{"errorCode": code, "message": message}])


class Salesforce(Vendor):
    """The organization: its tasks, contacts and leads by id. `uses` is how often a token may be shown; `locked` has the
    uuids that are locked by somebody for so many requests, `bad` those that a rule of the organization refuses."""

    def __init__(self, uses: int = 1000, quota: int = 15_000) -> None:
        super().__init__()
        self.tasks: dict[str, dict[str, Any]] = {}
        self.people: dict[str, dict[str, Any]] = {}
        self.bin: list[str] = []
        self.locked: dict[str, int] = {}
        self.bad: set[str] = set()
        self.external = True
        self.tokens = 0
        self.quota, self.used = quota, 0
        self._uses = uses
        self._left = 0
        self._next = 0

    def person(self, kind: str, phone: str, created: str, mobile: str | None = None) -> str:
        """Somebody is there already, a `Contact` or a `Lead`."""
        self._next += 1
        id_ = f"{'003' if kind == 'Contact' else '00Q'}{self._next:015}"
        self.people[id_] = {
            "attributes": {"type": kind},
            "Id": id_,
            "Phone": phone,
            "MobilePhone": mobile,
            "CreatedDate": created,
        }
        return id_

    def answer(self, request: Request) -> Answer:
        """See `Vendor`."""
        if request.path == "/services/oauth2/token":
            return self._token(parse_qs(request.raw.decode()))
        if request.headers.get("authorization") != f"Bearer token-{self.tokens}" or self._left < 1:
            return _error(401, "INVALID_SESSION_ID", "Session expired or invalid")
        self._left -= 1
        self.used += 1
        if self.used > self.quota:
            return _error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        found = self._routed(request)
        return Answer(found.status, found.body, {"sforce-limit-info": f"api-usage={self.used}/{self.quota}"})

    def _token(self, form: dict[str, list[str]]) -> Answer:
        given = {name: values[0] for name, values in form.items()}
        if given.get("client_id") != "id" or given.get("client_secret") != "hush":
            return Answer(400, {"error": "invalid_client", "error_description": "invalid client credentials"})
        if given["grant_type"] == "refresh_token" and given["refresh_token"] != "refresh":
            return Answer(400, {"error": "invalid_grant", "error_description": "expired access/refresh token"})
        self.tokens += 1
        self._left = self._uses
        return Answer(200, {"access_token": f"token-{self.tokens}", "instance_url": self.url, "token_type": "Bearer"})

    def _routed(self, request: Request) -> Answer:
        match request.method, request.path.removeprefix("/services/data/v66.0/"):
            case "GET", "sobjects/Task/describe":
                return Answer(200, {"fields": [{"name": "Calldex_UUID__c", "externalId": self.external}]})
            case "PATCH", "composite/sobjects/Task/Calldex_UUID__c":
                return self._collection(request.body, self._task)
            case "POST", "composite/sobjects":
                return self._collection(request.body, self._new)
            case "DELETE", "composite/sobjects":
                return Answer(200, [self._deleted(id_) for id_ in request.query["ids"].split(",")])
            case "GET", "query":
                texts = re.findall(r"'((?:[^'\\]|\\.)*)'", request.query["q"])
                wanted = {re.sub(r"\\(.)", r"\1", text) for text in texts}
                if not wanted:
                    return _error(400, "MALFORMED_QUERY", "unexpected token: ')'")
                found = [
                    {"Id": id_, "Calldex_UUID__c": task["Calldex_UUID__c"]}
                    for id_, task in self.tasks.items()
                    if task["Calldex_UUID__c"] in wanted
                ]
                return Answer(200, {"totalSize": len(found), "done": True, "records": found})
            case "GET", "search":
                return self._search(request.query["q"])
        return _error(404, "NOT_FOUND", "The requested resource does not exist")

    def _collection(self, body: dict[str, Any], one: Any) -> Answer:
        records = body["records"]
        if not 1 <= len(records) <= 200:
            return _error(400, "EXCEEDED_MAX_SIZE_REQUEST", "record limit reached. cannot submit more than 200 records")
        if body["allOrNone"] is not False:
            return _error(400, "INVALID", "this organization is asked for partial success only")
        return Answer(200, [one(record) for record in records])

    def _task(self, record: dict[str, Any]) -> dict[str, Any]:
        fields = {name: value for name, value in record.items() if name != "attributes"}
        uuid = fields["Calldex_UUID__c"]
        wrong = [name for name, value in fields.items() if not isinstance(value, _FIELDS.get(name, type(None)))]
        if wrong or record["attributes"] != {"type": "Task"} or len(fields["Subject"]) > 255:
            return _refused("INVALID_FIELD", f"No such column {wrong}")
        if fields["TaskSubtype"] != "Call" or fields["CallType"] not in ("Inbound", "Outbound"):
            return _refused("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "bad value for restricted picklist field")
        if "WhoId" in fields and fields["WhoId"] not in self.people:
            return _refused("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if uuid in self.bad:
            return _refused("FIELD_CUSTOM_VALIDATION_EXCEPTION", "Calls need a reason")
        if self.locked.get(uuid, 0):
            self.locked[uuid] -= 1
            return _refused("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
        known = {task["Calldex_UUID__c"]: id_ for id_, task in self.tasks.items()}
        id_ = known.get(uuid)
        created = id_ is None
        if id_ is None:
            self._next += 1
            id_ = f"00T{self._next:015}"
        self.tasks[id_] = {**self.tasks.get(id_, {}), **fields}
        return {"id": id_, "success": True, "errors": [], "created": created}

    def _new(self, record: dict[str, Any]) -> dict[str, Any]:
        if record["attributes"] != {"type": "Contact"} or not record.get("LastName"):
            return _refused("REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]")
        return {
            "id": self.person("Contact", record["Phone"], "2026-11-01T00:00:00.000+0000"),
            "success": True,
            "errors": [],
        }

    def _deleted(self, id_: str) -> dict[str, Any]:
        if self.tasks.pop(id_, None) is None:
            return _refused("ENTITY_IS_DELETED", "entity is deleted")
        self.bin.append(id_)
        return {"id": id_, "success": True, "errors": []}

    def _search(self, text: str) -> Answer:
        wanted = re.findall(r'"(\d+)"', text)
        if "IN PHONE FIELDS" not in text or not wanted:
            return _error(400, "MALFORMED_SEARCH", "unexpected token")
        found = [
            one
            for one in self.people.values()
            if any(re.sub(r"\D", "", one[name] or "").endswith(tuple(wanted)) for name in ("Phone", "MobilePhone"))
        ]
        return Answer(200, {"searchRecords": [] if self.hidden else found})


def _refused(code: str, message: str) -> dict[str, Any]:
    return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": []}]}
