"""Salesforce: each call is a completed task, known by an external id of ours.

200 tasks a request, of which some may fail while the others are kept; the organization's requests in 24 hours are
counted, and told with each answer. Tokens expire, and are renewed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

from msgspec import Meta

from calldex.sync.crm.base import Contact, Crm, Item, Outcome, Took
from calldex.sync.crm.call import Call, national
from calldex.sync.crm.http import Http, Pace, Refused, Unavailable
from calldex.sync.crm.oauth import AppOptions, Token
from calldex.sync.destinations import Failed, Url

_FINAL: Final = frozenset(
    ("REQUIRED_FIELD_MISSING", "STRING_TOO_LONG", "INVALID_FIELD", "FIELD_CUSTOM_VALIDATION_EXCEPTION")
)
_KINDS: Final = ("Contact", "Lead")
"""Whom a task can be put to, in the order in which they count."""


class SalesforceOptions(AppOptions, frozen=True, kw_only=True):
    """Salesforce's own options."""

    url: Url
    """The organization's own address, as `https://example.my.salesforce.com`."""
    version: Annotated[str, Meta(pattern=r"^\d{2,3}\.0$", description="a version of the API, as 66.0")] = "66.0"
    external_id: Annotated[
        str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}__c$", description="a field, as Calldex_UUID__c")
    ] = "Calldex_UUID__c"
    """A text field of activities that is unique and an external id."""
    quota_share: Annotated[float, Meta(gt=0, le=1)] = 0.9
    """How much of the organization's requests of 24 hours may be used, by everybody, before calls wait."""


class Salesforce(Crm):
    """The destination."""

    Options = SalesforceOptions
    vendor: ClassVar[str] = "Salesforce"
    size: ClassVar[int] = 200
    keyed: ClassVar[bool] = True
    find_size: ClassVar[int] = 100
    workers: ClassVar[int] = 4

    def connect(self) -> Http:
        """See `Crm`."""
        options: SalesforceOptions = self.options
        self._base = f"/services/data/v{options.version}"
        token = Token(
            self.vendor,
            options.url,
            "/services/oauth2/token",
            Pace(5, sleep=self.context.pause),
            reason=_reason,
            app=options,
            remembered=self.context.remembered,
        )
        return Http(
            self.vendor,
            options.url,
            Pace(25, sleep=self.context.pause),
            headers=token.headers,
            reason=_reason,
            renew=token.renew,
            paced=self._counted,
            timeout_s=options.timeout_s,
            tries=options.tries,
        )

    def _counted(self, pace: Pace, headers: Mapping[str, str]) -> None:
        """`Sforce-Limit-Info: api-usage=18/5000`: stop before the organization's own work has no requests left."""
        del pace
        used, _, limit = headers.get("sforce-limit-info", "").removeprefix("api-usage=").partition("/")
        if used.isdigit() and limit.isdigit() and int(used) > int(limit) * self.options.quota_share:
            raise Unavailable(f"{used} of the organization's {limit} requests of 24 hours are used; calls wait")

    def prepare(self, *, make: bool) -> None:
        """See `Crm`."""
        name = self.options.external_id
        fields = self.http.send("GET", f"{self._base}/sobjects/Task/describe").told("fields")
        if not any(one["name"] == name and one.get("externalId") for one in fields):
            raise Refused(400, f"Salesforce has no field {name} on activities that is an external id; make one there")

    def payload(self, call: Call) -> Mapping[str, Any]:
        """See `Crm`."""
        given = {
            "attributes": {"type": "Task"},
            self.options.external_id: call.uuid,
            "Subject": call.subject,
            "Description": call.notes,
            "TaskSubtype": "Call",
            "Status": "Completed",
            "CallType": call.direction.capitalize(),
            "CallDurationInSeconds": call.duration_s,
            "CallDisposition": call.disposition,
            "CallObject": call.uuid,
            "ActivityDate": call.at.date().isoformat(),
            "OwnerId": self.user(call),
        }
        return {name: value for name, value in given.items() if value is not None}

    def send(self, items: Sequence[Item]) -> Mapping[str, Outcome]:
        """See `Crm`."""
        records = [{**item.payload, **({"WhoId": item.contact} if item.contact else {})} for item in items]
        path = f"{self._base}/composite/sobjects/Task/{self.options.external_id}"
        results = self.http.send("PATCH", path, json={"allOrNone": False, "records": records}).rows
        uuids = [item.call.uuid for item in items]
        return dict(zip(uuids, map(_outcome, uuids, results), strict=False))

    def remove(self, known: Mapping[str, str | None]) -> Sequence[Failed]:
        """See `Crm`: they go to the recycle bin."""
        field = self.options.external_id
        text = f"SELECT Id, {field} FROM Task WHERE {field} IN ({','.join(map(_quoted, known))})"  # noqa: S608 - quoted, and a name that was checked
        found = self.http.send("GET", f"{self._base}/query", parameters={"q": text}).told("records")
        if not found:
            return ()
        ids = {one["Id"]: one[field] for one in found}
        given = {"ids": ",".join(ids), "allOrNone": "false"}
        results = self.http.send("DELETE", f"{self._base}/composite/sobjects", parameters=given).rows
        outcomes = map(_outcome, ids.values(), results)
        return [one for one in outcomes if isinstance(one, Failed) and "ENTITY_IS_DELETED" not in one.message]

    def find(self, numbers: Sequence[str]) -> Sequence[Contact]:
        """See `Crm`: contacts, then leads that have not become contacts."""
        digits = " OR ".join(f'"{national(number)}"' for number in numbers)
        returning = (
            "Contact(Id, Phone, MobilePhone, CreatedDate),"
            " Lead(Id, Phone, MobilePhone, CreatedDate WHERE IsConverted = false)"
        )
        text = f"FIND {{{digits}}} IN PHONE FIELDS RETURNING {returning} LIMIT 2000"
        found = self.http.send("GET", f"{self._base}/search", parameters={"q": text}).told("searchRecords")
        return [_contact(one) for one in found]

    def make(self, numbers: Sequence[str]) -> Mapping[str, str]:
        """See `Crm`: a contact needs a last name, which is the number."""
        records = [{"attributes": {"type": "Contact"}, "LastName": number, "Phone": number} for number in numbers]
        path = f"{self._base}/composite/sobjects"
        results = self.http.send("POST", path, json={"allOrNone": False, "records": records}, again=False).rows
        return {number: one["id"] for number, one in zip(numbers, results, strict=False) if one["success"]}


def _quoted(text: str) -> str:
    """A text as SOQL has it: an endpoint's uuid may be any."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _outcome(uuid: str, result: Mapping[str, Any]) -> Outcome:
    if result["success"]:
        return Took(result["id"])
    errors = result["errors"]
    words = "; ".join(f"{error.get('statusCode', '')}: {error.get('message', '')}" for error in errors)
    final = any(error.get("statusCode") in _FINAL for error in errors)
    return Failed(uuid, f"Salesforce: {words}", retry=not final)


def _contact(one: Mapping[str, Any]) -> Contact:
    numbers = [one[name] for name in ("Phone", "MobilePhone") if one.get(name)]
    return Contact(one["Id"], numbers, one["CreatedDate"], _KINDS.index(one["attributes"]["type"]))


def _reason(body: Any) -> str:
    errors = body if isinstance(body, list) else [body]
    words = (
        f"{one.get('errorCode') or one.get('error', '')}: {one.get('message') or one.get('error_description', '')}"
        for one in errors
        if isinstance(one, dict)
    )
    return "; ".join(words)
