"""A record as a CRM sees it: a telephone call with a customer, whose number is in E.164."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import phonenumbers

Direction = Literal["inbound", "outbound"]

_INBOUND: Final = frozenset(("inbound",))
_OUTBOUND: Final = frozenset(
    (
        *("outbound", "dialer", "campaign", "click_to_call", "callback"),
        *("queue_callback", "queue-callback", "scheduled_callback", "scheduled-callback"),
    )
)
_NOT_ENDED: Final = frozenset(("waiting", "active", "initiated"))
_ANSWERED: Final = frozenset(("answered", "answered_by_VM", "machine_answered"))


class NotACall(Exception):
    """Why a record is not sent to a CRM: no telephone call, not with a customer, or not ended yet."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that ended. `customer` and `own` are numbers as the record has them, `customer_e164` and `own_e164` in
    E.164 where they can be read as such; times are UTC, lengths whole seconds."""

    uuid: str
    at: datetime
    ended: datetime
    duration_s: int
    talk_s: int
    direction: Direction
    disposition: str
    customer: str | None
    customer_e164: str | None
    own: str | None
    own_e164: str | None
    agent: str | None
    agent_id: int | None
    record: Mapping[str, Any]

    @property
    def answered(self) -> bool:
        """Whether somebody, or something, took it."""
        return self.disposition in _ANSWERED

    @property
    def subject(self) -> str:
        """One line about it."""
        way = "Inbound" if self.direction == "inbound" else "Outbound"
        return f"{way} call, {self.disposition.replace('_', ' ')}"

    @property
    def notes(self) -> str:
        """What a person wants to know beside the fields that every CRM has, a line for each; may be empty."""
        wrapup = self.record.get("wrapup_description") or self.record.get("wrapup_code")
        lines = (
            ("Agent", self.agent),
            ("Queue", self.record.get("queue")),
            ("Campaign", self.record.get("campaign")),
            ("Wrap-up", wrapup),
            ("Comment", self.record.get("comment")),
        )
        return "\n".join(f"{name}: {value}" for name, value in lines if value)


def call_of(record: Mapping[str, Any], region: str | None) -> Call:
    """The call that a record is, of Calldex or of an endpoint that knows the contract alone. Raises `NotACall`."""
    kind, disposition = str(record["type"]), str(record["disposition"])
    if kind not in _INBOUND | _OUTBOUND:
        raise NotACall(f"type {kind}")
    if disposition in _NOT_ENDED:
        raise NotACall("not ended yet")
    return any_call_of(record, region)


def any_call_of(record: Mapping[str, Any], region: str | None) -> Call:
    """The same of every record, whatever it is of."""
    kind, disposition = str(record["type"]), str(record["disposition"])
    inbound = kind in _INBOUND
    customer, own = record.get("from"), record.get("to")
    if inbound:
        own = record.get("did") or own
    else:
        customer, own = own, customer
    at = _instant(record.get("started_at") or record["timestamp"])
    duration_s = _seconds(record)
    ended = record.get("ended_at")
    answered = disposition in _ANSWERED
    talk_s = record.get("talk_s")
    return Call(
        uuid=str(record["uuid"]),
        at=at,
        ended=_instant(ended) if ended else at + timedelta(seconds=duration_s),
        duration_s=duration_s,
        talk_s=talk_s if talk_s is not None else duration_s if answered else 0,
        direction="inbound" if inbound else "outbound",
        disposition=disposition,
        customer=customer,
        customer_e164=e164(customer, region),
        own=own,
        own_e164=e164(own, region),
        agent=record.get("agent"),
        agent_id=record.get("agent_id"),
        record=record,
    )


def e164(number: str | None, region: str | None) -> str | None:
    """A number in E.164; None where it cannot be read as a telephone number.

    With a `region` (`GB`), a number that is valid as dialled there is of that region. Every other one, and all where
    none is given, begins with its country code, as the contract writes numbers, if it can be read so; else it is of the
    region if it can be read so. Formatting does not count.
    """
    if not number:
        return None
    text = number.strip()
    local = _parsed(text, region) if region and not text.startswith("+") else None
    if local is not None and phonenumbers.is_valid_number(local):
        return _written(local)
    digits = "".join(char for char in text if char.isdigit())
    for found in (_parsed(f"+{digits.removeprefix('00')}", None), local):
        if found is not None and phonenumbers.is_possible_number(found):
            return _written(found)
    return None


def national(number: str) -> str:
    """What follows the country code of a number in E.164."""
    parsed = phonenumbers.parse(number)
    return str(phonenumbers.national_significant_number(parsed))


def _parsed(text: str, region: str | None) -> Any:
    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None


def _written(number: Any) -> str:
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _seconds(record: Mapping[str, Any]) -> int:
    exact = record.get("duration_s")
    if exact is not None:
        return int(exact)
    hours, minutes, seconds = (int(part) for part in str(record["duration"]).split(":"))
    return hours * 3600 + minutes * 60 + seconds
