"""Bitrix24: external calls, registered and finished in one batch.

50 commands a batch, so 25 calls. Two budgets: requests (a bucket of 50 that empties by 2 a second, more with
Enterprise), and 480 seconds of each method's own work within ten minutes, which Bitrix24 tells as `operating`. It knows
no id of ours, so its own is remembered; a call of which no answer came is looked up in the telephony statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import quote, urlencode

from msgspec import Meta

from calldex.clock import now_ms
from calldex.sync.crm.base import Contact, Crm, Item, Outcome, Took
from calldex.sync.crm.call import Call
from calldex.sync.crm.http import SHARE, Http, Pace, Refused, Unavailable
from calldex.sync.crm.oauth import AppOptions, Token
from calldex.sync.destinations import Failed, Url

OPERATING_S: Final = 480
"""How long one method may work within ten minutes."""
_KINDS: Final = ("CONTACT", "COMPANY", "LEAD")
"""What a call can be put to, in the order in which they count."""
_STATUS: Final = {
    "busy": "486",
    "rejected": "603",
    "route_unavailable": "503",
    "no_answer": "304",
    "missed": "304",
    "abandoned": "304",
}
_Commands = dict[str, tuple[str, Mapping[str, Any]]]


class Bitrix24Options(AppOptions, frozen=True, kw_only=True):
    """Bitrix24's own options. Telephony is for applications alone, so a webhook's address will not do."""

    url: Url
    """The account's address, as `https://example.bitrix24.com`."""
    refresh_token: str
    """The first one; those that Bitrix24 gives instead are remembered."""
    agent: str
    """The user to whom calls belong whose agent is not in `agents`."""
    oauth_url: Url = "https://oauth.bitrix.info"
    requests_per_second: Annotated[float, Meta(gt=0, le=50)] = 2
    burst: Annotated[int, Meta(ge=1, le=1000)] = 50


class Bitrix24(Crm):
    """The destination."""

    Options = Bitrix24Options
    vendor: ClassVar[str] = "Bitrix24"
    size: ClassVar[int] = 25
    find_size: ClassVar[int] = 50
    batch_size: ClassVar[int] = 500  # a quarter of a minute: whoever stops a run waits for it

    def connect(self) -> Http:
        """See `Crm`."""
        options: Bitrix24Options = self.options
        self._pace = Pace(options.requests_per_second, options.burst, sleep=self.context.pause)
        token = Token(
            self.vendor,
            options.oauth_url,
            "/oauth/token/",
            Pace(2, sleep=self.context.pause),
            reason=_reason,
            app=options,
            remembered=self.context.remembered,
        )
        return Http(
            self.vendor,
            options.url,
            self._pace,
            headers=token.headers,
            reason=_reason,
            renew=token.renew,
            timeout_s=options.timeout_s,
            tries=options.tries,
        )

    def prepare(self, *, make: bool) -> None:
        """See `Crm`."""
        scopes = self.http.send("POST", "/rest/scope", json={}).told("result")
        lacking = [scope for scope in ("telephony", "crm") if scope not in scopes]
        if lacking:
            raise Refused(403, f"the application lacks the permissions {', '.join(lacking)} in Bitrix24")

    def payload(self, call: Call) -> Mapping[str, Any]:
        """See `Crm`: both commands."""
        number = call.customer_e164 or call.customer
        if number is None:
            raise ValueError("the record lacks the customer's number, and Bitrix24 takes no call without one")
        user = self.user(call)
        register = {
            "USER_ID": user,
            "PHONE_NUMBER": number,
            "TYPE": 2 if call.direction == "inbound" else 1,
            "CALL_START_DATE": call.at.isoformat(timespec="seconds"),
            "LINE_NUMBER": call.own_e164 or call.own or "",
            "CRM_CREATE": 0,
            "SHOW": 0,
            "ADD_TO_CHAT": 0,
        }
        finish = {
            "USER_ID": user,
            "DURATION": call.talk_s,
            "STATUS_CODE": "200" if call.answered else _STATUS.get(call.disposition, "OTHER"),
            "ADD_TO_CHAT": 0,
        }
        return {"register": register, "finish": finish}

    def send(self, items: Sequence[Item]) -> Mapping[str, Outcome]:
        """See `Crm`. A call that is finished cannot be changed in Bitrix24: later versions are not sent."""
        commands: _Commands = {}
        outcomes: dict[str, Outcome] = {}
        for at, item in enumerate(items):
            if item.known is not None and not self._open(item):
                outcomes[item.call.uuid] = Took(item.known)
                continue
            register = dict(item.payload["register"])
            if item.contact:
                kind, _, id_ = item.contact.partition(":")
                register |= {"CRM_ENTITY_TYPE": kind, "CRM_ENTITY_ID": id_}
            if item.known is None:
                commands[f"r{at}"] = ("telephony.externalCall.register", register)
            call_id = f"$result[r{at}][CALL_ID]" if item.known is None else item.known
            commands[f"f{at}"] = ("telephony.externalCall.finish", {**item.payload["finish"], "CALL_ID": call_id})
        if commands:
            results, errors = self._batch(commands, again=False)
            for at, item in enumerate(items):
                if item.call.uuid not in outcomes:
                    outcomes[item.call.uuid] = _outcome(item, f"r{at}", f"f{at}", results, errors)
        return outcomes

    def _open(self, item: Item) -> bool:
        """Whether a call was registered and not finished."""
        return self.context.remembered.get(f"call:{item.call.uuid}", "").endswith(" -")

    def look(self, item: Item) -> str | None:
        """See `Crm`: a call with the number that began in the same second."""
        begin = item.call.at.replace(microsecond=0)
        wanted = {
            "FILTER": {
                "PHONE_NUMBER": item.payload["register"]["PHONE_NUMBER"],
                ">=CALL_START_DATE": begin.isoformat(),
                "<CALL_START_DATE": (begin + timedelta(seconds=1)).isoformat(),
            }
        }
        found = self.http.send("POST", "/rest/voximplant.statistic.get", json=wanted).told("result")
        return str(found[0]["CALL_ID"]) if found else None

    def remove(self, known: Mapping[str, str | None]) -> Sequence[Failed]:
        """See `Crm`: Bitrix24 has no way to."""
        words = "the record is erased, but Bitrix24's API deletes no calls: {} is still in its telephony statistics"
        return [Failed(uuid, words.format(id_), retry=False) for uuid, id_ in known.items() if id_ is not None]

    def find(self, numbers: Sequence[str]) -> Sequence[Contact]:
        """See `Crm`. Bitrix24 compares numbers itself; ids grow with time."""
        commands: _Commands = {
            f"n{at}": ("crm.duplicate.findbycomm", {"type": "PHONE", "values": [number]})
            for at, number in enumerate(numbers)
        }
        results, errors = self._batch(commands)
        if errors:
            raise Unavailable(f"contacts cannot be found: {next(iter(errors.values()))}")
        found = []
        for at, number in enumerate(numbers):
            entities = results.get(f"n{at}") or {}  # an empty list where there is none
            for rank, kind in enumerate(_KINDS):
                ids = entities.get(kind, ()) if isinstance(entities, dict) else ()
                found += [Contact(f"{kind}:{id_}", [number], f"{int(id_):020}", rank) for id_ in ids]
        return found

    def make(self, numbers: Sequence[str]) -> Mapping[str, str]:
        """See `Crm`."""
        commands: _Commands = {}
        for at, number in enumerate(numbers):
            phone = [{"VALUE": number, "VALUE_TYPE": "WORK"}]
            commands[f"c{at}"] = ("crm.contact.add", {"fields": {"NAME": number, "PHONE": phone}})
        results, _ = self._batch(commands, again=False)
        return {number: f"CONTACT:{results[f'c{at}']}" for at, number in enumerate(numbers) if results.get(f"c{at}")}

    def _batch(self, commands: _Commands, *, again: bool = True) -> tuple[dict[str, Any], dict[str, str]]:
        """What each command gave, and what went wrong with others."""
        cmd = {
            key: f"{method}?{urlencode(list(_flat(given)), quote_via=quote)}"
            for key, (method, given) in commands.items()
        }
        body = self.http.send("POST", "/rest/batch", json={"halt": 0, "cmd": cmd}, again=again).told("result")
        self._worked(body.get("result_time") or {})
        results, errors = body.get("result") or {}, body.get("result_error") or {}
        return dict(results), {key: _reason(error) or "it failed" for key, error in dict(errors).items()}

    def _worked(self, times: Mapping[str, Any]) -> None:
        """The second budget: let nothing be sent while a method has nearly used up its own."""
        for one in times.values() if isinstance(times, dict) else ():
            if float(one.get("operating", 0)) >= OPERATING_S * SHARE:
                self._pace.hold(max(1.0, float(one["operating_reset_at"]) - now_ms() / 1000))


def _outcome(item: Item, register: str, finish: str, results: Mapping[str, Any], errors: Mapping[str, str]) -> Outcome:
    uuid = item.call.uuid
    if register in errors:
        return Failed(uuid, f"Bitrix24: {errors[register]}", retry=True)
    id_ = item.known or (results.get(register) or {}).get("CALL_ID")
    if id_ is None:
        return Failed(uuid, "Bitrix24 said nothing of it", retry=True)
    lacking = "" if finish in results and finish not in errors else errors.get(finish, "it said nothing of the end")
    return Took(str(id_), f"Bitrix24 has the call, but not as ended: {lacking}" if lacking else "")


def _flat(given: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """`fields[PHONE][0][VALUE]=…`, as PHP reads it."""
    if isinstance(given, Mapping):
        pairs: Iterable[tuple[Any, Any]] = given.items()
    elif isinstance(given, (list, tuple)):
        pairs = enumerate(given)
    else:
        yield name, "" if given is None else str(given)
        return
    for key, value in pairs:
        yield from _flat(value, f"{name}[{key}]" if name else str(key))


def _reason(body: Any) -> str:
    if not isinstance(body, dict):
        return str(body or "")
    return ": ".join(str(body[name]) for name in ("error", "error_description") if body.get(name))
