"""Zendesk: calls of Talk Partner Edition, one a request.

Zendesk knows no id of ours, so its own is remembered; a call of which no answer came cannot be looked up there, and is
listed. The plan's limit (200 to 2,500 requests a minute) is told with each answer.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from calldex.sync.crm.base import Contact, Crm, CrmOptions, Item, Outcome, Took
from calldex.sync.crm.call import Call
from calldex.sync.crm.http import Http, Pace, Refused
from calldex.sync.destinations import Failed, Url

_CALLS: Final = "/api/v2/calls"
_USERS: Final = "/api/v2/users"


class ZendeskOptions(CrmOptions, frozen=True, kw_only=True):
    """Zendesk's own options."""

    url: Url
    """The account's address, as `https://example.zendesk.com`."""
    email: str
    """Of the agent whose API token it is."""
    token: str
    app_id: Annotated[int, Meta(ge=1)] | Annotated[str, Meta(pattern=r"^[0-9]{1,18}$", description="its digits")]
    """The id of a Zendesk app; one that is private to the account will do."""
    requests_per_minute: Annotated[int, Meta(ge=1, le=10_000)] = 200
    """What the plan allows, until Zendesk tells it."""
    unsure: Literal["list", "resend"] = "list"
    """What is done with a call of which no answer came: `resend` may make it twice, `list` may leave it out."""


class Zendesk(Crm):
    """The destination."""

    Options = ZendeskOptions
    vendor: ClassVar[str] = "Zendesk"
    size: ClassVar[int] = 1
    find_size: ClassVar[int] = 20
    batch_size: ClassVar[int] = 100  # half a minute at the smallest plan's limit: whoever stops a run waits for it

    def connect(self) -> Http:
        """See `Crm`."""
        options: ZendeskOptions = self.options
        shown = b64encode(f"{options.email}/token:{options.token}".encode()).decode()
        return Http(
            self.vendor,
            options.url,
            Pace(options.requests_per_minute / 60, sleep=self.context.pause),
            headers=lambda: {"Authorization": f"Basic {shown}"},
            reason=_reason,
            paced=_paced,
            timeout_s=options.timeout_s,
            tries=options.tries,
        )

    def prepare(self, *, make: bool) -> None:
        """See `Crm`."""
        user = self.http.send("GET", f"{_USERS}/me").told("user")
        if user.get("id") is None:
            raise Refused(401, "Zendesk does not know the e-mail and token")

    def payload(self, call: Call) -> Mapping[str, Any]:
        """See `Crm`."""
        caller, callee = call.own_e164 or call.own, call.customer_e164 or call.customer
        if call.direction == "inbound":
            caller, callee = callee, caller
        if caller is None or callee is None:
            raise ValueError("the record lacks a number, and Zendesk takes no call without both")
        user = self.user(call)
        status = "completed" if call.answered else "abandoned_in_queue" if call.disposition == "abandoned" else None
        given = {
            "app_id": int(self.options.app_id),
            "from_line": caller,
            "to_line": callee,
            "direction": call.direction,
            "call_started_at": call.at.isoformat(timespec="seconds"),
            "call_ended_at": call.ended.isoformat(timespec="seconds"),
            "call_disposition": call.disposition,
            "completion_status": status,
            "agent_id": int(user) if user else None,
        }
        return {name: value for name, value in given.items() if value is not None}

    def send(self, items: Sequence[Item]) -> Mapping[str, Outcome]:
        """See `Crm`."""
        (item,) = items
        given = dict(item.payload)
        if item.contact:
            given["end_user_id"] = int(item.contact)
        if item.known is None:
            reply = self.http.send("POST", _CALLS, json=given, again=False)
        else:
            del given["app_id"]  # it cannot be changed
            reply = self.http.send("PATCH", f"{_CALLS}/{item.known}", json=given)
        return {item.call.uuid: Took(str(reply.told("call")["id"]))}

    def look(self, item: Item) -> str | None:
        """See `Crm`: Zendesk lists calls to nobody."""
        if self.options.unsure == "list":
            raise NotImplementedError
        return None

    def remove(self, known: Mapping[str, str | None]) -> Sequence[Failed]:
        """See `Crm`: Zendesk has no way to."""
        words = "the record is erased, but Zendesk's API deletes no calls: call {} is still there"
        return [Failed(uuid, words.format(id_), retry=False) for uuid, id_ in known.items() if id_ is not None]

    def find(self, numbers: Sequence[str]) -> Sequence[Contact]:
        """See `Crm`: end users."""
        text = " ".join(("role:end-user", *(f"phone:{number}" for number in numbers)))
        found: list[Contact] = []
        given = {"query": text, "per_page": "100", "page": "1"}
        while True:
            reply = self.http.send("GET", f"{_USERS}/search", parameters=given)
            found += (Contact(str(one["id"]), [one["phone"]], one["created_at"]) for one in reply.told("users"))
            if not reply.body.get("next_page"):
                return found
            given["page"] = str(int(given["page"]) + 1)

    def make(self, numbers: Sequence[str]) -> Mapping[str, str]:
        """See `Crm`: an end user's name is the number, until somebody knows better."""
        made = {}
        for number in numbers:
            user = {"name": number, "phone": number, "role": "end-user"}
            reply = self.http.send("POST", _USERS, json={"user": user}, again=False)
            made[number] = str(reply.told("user")["id"])
        return made


def _reason(body: Any) -> str:
    if not isinstance(body, dict):
        return ""
    error = body.get("error")
    words = [error.get("title", "") if isinstance(error, dict) else error or "", body.get("description") or ""]
    for name, problems in (body.get("details") or {}).items():
        words += [f"{name}: {problem.get('description', '')}" for problem in problems]
    return "; ".join(str(word) for word in words if word)


def _paced(pace: Pace, headers: Mapping[str, str]) -> None:
    limit = headers.get("x-rate-limit", "")
    if limit.isdigit() and int(limit):
        pace.set_limit(int(limit), 60)
