"""Bitrix24 as it is published: batches of 50 commands, a leaky bucket, each method's own working time, and tokens whose
refresh token is good for one use."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from tests.sync.vendors.server import Answer, Bucket, Request, Vendor


class Bitrix24(Vendor):
    """The account: its calls by id, and whose number is whose. `operating` is what each method has worked so far,
    `fails` the methods that fail for a number, once."""

    def __init__(self, rate: float = 2, size: float = 50) -> None:
        super().__init__()
        self.calls: dict[str, dict[str, Any]] = {}
        self.entities: dict[str, dict[str, list[int]]] = {}
        self.operating: dict[str, float] = {}
        self.reset_at = 0.0
        self.fails: set[tuple[str, str]] = set()
        self.refresh = "refresh-0"
        self.access = ""
        self._bucket = Bucket(rate, size)
        self._next = 100

    def limit(self, request: Request) -> Answer | None:
        """See `Vendor`."""
        if request.path.startswith("/rest/") and self._bucket.admit(request.at):
            return Answer(503, {"error": "QUERY_LIMIT_EXCEEDED", "error_description": "Too many requests"})
        return None

    def answer(self, request: Request) -> Answer:
        """See `Vendor`."""
        if request.path == "/oauth/token/":
            given = dict(parse_qsl(request.raw.decode()))
            if given.get("refresh_token") != self.refresh or given.get("client_secret") != "hush":
                return Answer(400, {"error": "invalid_grant", "error_description": "Token is not valid"})
            count = int(self.refresh.partition("-")[2]) + 1
            self.refresh, self.access = f"refresh-{count}", f"access-{count}"
            return Answer(200, {"access_token": self.access, "refresh_token": self.refresh, "expires_in": 3600})
        if not self.access or request.headers.get("authorization") != f"Bearer {self.access}":
            return Answer(
                401, {"error": "expired_token", "error_description": "The access token provided has expired."}
            )
        method = request.path.removeprefix("/rest/")
        if method == "batch":
            return self._batch(request.body)
        found = self._done(method, request.body or {})
        return Answer(400, found) if "error" in found else Answer(200, {"result": found["result"]})

    def _batch(self, body: dict[str, Any]) -> Answer:
        commands = body["cmd"]
        if len(commands) > 50:
            return Answer(
                400, {"error": "ERROR_BATCH_LENGTH_EXCEEDED", "error_description": "Max batch length exceeded"}
            )
        results: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        times: dict[str, Any] = {}
        for key, command in commands.items():
            method, _, text = command.partition("?")
            given = _nested([(name, _referred(value, results)) for name, value in parse_qsl(text)])
            found = self._done(method, given)
            if "error" in found:
                errors[key] = found
            else:
                results[key] = found["result"]
                times[key] = {"operating": self.operating.get(method, 0.0), "operating_reset_at": self.reset_at}
        return Answer(200, {"result": {"result": results, "result_error": errors or [], "result_time": times}})

    def _done(self, method: str, given: dict[str, Any]) -> dict[str, Any]:
        if self.operating.get(method, 0) >= 480 and time.time() < self.reset_at:
            return {
                "error": "OPERATION_TIME_LIMIT",
                "error_description": "Method is blocked due to operation time limit.",
            }
        number = given.get("PHONE_NUMBER") or self.calls.get(given.get("CALL_ID", ""), {}).get("PHONE_NUMBER", "")
        if (method, number) in self.fails:
            self.fails.discard((method, number))
            return {"error": "INTERNAL_SERVER_ERROR", "error_description": "Internal server error"}
        match method:
            case "scope":
                return {"result": ["crm", "telephony", "user"]}
            case "telephony.externalCall.register":
                return self._registered(given)
            case "telephony.externalCall.finish":
                return self._finished(given)
            case "crm.duplicate.findbycomm":
                if given["type"] != "PHONE" or len(given["values"]) > 20:
                    return {"error": "", "error_description": "values are wrong"}
                return {"result": [] if self.hidden else self.entities.get(given["values"]["0"], [])}
            case "crm.contact.add":
                self._next += 1
                self.entities[given["fields"]["PHONE"]["0"]["VALUE"]] = {"CONTACT": [self._next]}
                return {"result": self._next}
            case "voximplant.statistic.get":
                return {"result": self._statistics(given["FILTER"])}
        return {"error": "ERROR_METHOD_NOT_FOUND", "error_description": "Method not found!"}

    def _registered(self, given: dict[str, Any]) -> dict[str, Any]:
        lacking = [name for name in ("USER_ID", "PHONE_NUMBER", "TYPE") if not given.get(name)]
        if lacking or given["TYPE"] not in ("1", "2", "3", "4", "5"):
            return {"error": "ERROR_CORE", "error_description": f"{lacking} should be given"}
        id_ = f"externalCall.{len(self.calls):08}"
        self.calls[id_] = given
        return {"result": {"CALL_ID": id_, "CRM_CREATED_LEAD": None}}

    def _finished(self, given: dict[str, Any]) -> dict[str, Any]:
        call = self.calls.get(given["CALL_ID"])
        if call is None or "DURATION" in call:
            return {"error": "ERROR_CORE", "error_description": "Call is not found (call id: CALL_ID)"}
        call |= {"DURATION": given["DURATION"], "STATUS_CODE": given["STATUS_CODE"]}
        return {"result": {"CALL_ID": given["CALL_ID"], "CRM_ACTIVITY_ID": 5}}

    def _statistics(self, wanted: dict[str, str]) -> list[dict[str, str]]:
        begin, end = (datetime.fromisoformat(wanted[name]) for name in (">=CALL_START_DATE", "<CALL_START_DATE"))
        return [
            {"CALL_ID": id_}
            for id_, call in self.calls.items()
            if call["PHONE_NUMBER"] == wanted["PHONE_NUMBER"]
            and begin <= datetime.fromisoformat(call["CALL_START_DATE"]) < end
        ]


def _referred(value: str, results: dict[str, Any]) -> str:
    found = re.fullmatch(r"\$result\[(\w+)\]\[(\w+)\]", value)
    return value if found is None else str((results.get(found[1]) or {}).get(found[2], ""))


def _nested(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """`a[0][B]=c` as PHP reads it."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        first, *rest = re.findall(r"[^\[\]]+", name)
        place = made
        for part, following in zip([first, *rest], [*rest, None], strict=True):
            if following is None:
                place[part] = value
            else:
                place = place.setdefault(part, {})
    return made
