"""Push: each record to an address by HTTP, signed after Standard Webhooks, with a body made from a template.

Without a template the body is `{"type": "cdr.changed", "timestamp": …, "data": {…}}` for every record and
`{"type": "cdr.deleted", "timestamp": …, "data": {"uuid": …}}` for one that is erased. `webhook-id` is the same whenever
the same version of a record is sent: who takes pushes does a thing once for each.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta

from calldex.clock import now_ms
from calldex.records.fields import FIELDS
from calldex.sync.crm.base import Contact, Crm, Item, Outcome, Took
from calldex.sync.crm.call import Call, any_call_of, call_of
from calldex.sync.crm.http import Http, Pace, Refused
from calldex.sync.crm.template import BadTemplate, Template
from calldex.sync.destinations import Context, Destination, DestinationProblem, Failed, Region, Url

SHIPPED: Final = ("kommo", "pipedrive")
Rate = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,5}/[1-9][0-9]{0,3}s$", description="requests in seconds, as 20/1s")]
_DERIVED: Final = (
    *("direction", "customer", "customer_e164", "own", "own_e164", "from_e164", "to_e164", "subject", "notes"),
    *("started_unix", "ended_unix", "started_sql", "ended_sql", "talk_s_text", "duration_s_text", "index"),
)
NAMES: Final = frozenset((*(field.name for field in FIELDS), *_DERIVED))
"""What a template may ask for: the fields of a record, and what is made of them."""


class Form(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an address wants records: a template file, shipped or one's own."""

    body: str = ""
    rate: Rate | None = None
    """Requests in so many seconds: `7/1s`."""
    batch: Annotated[int, Meta(ge=1, le=1000)] = 1
    """So many bodies are sent as one JSON array; 1 sends each by itself."""
    once: bool = False
    """A record that was taken is not sent again when it changes."""
    repeatable: bool = True
    """Sending the same again does no harm there. If it does, a record of which no answer came is listed."""
    id: str = ""
    """Where in the reply the id stands that was given to the record, as `data.id`."""
    failed_list: str = ""
    """Of a batch: where in the reply those stand that were not taken, as `errors`."""
    failed_index: str = ""
    """Of each of them: the member that says which of the batch it is, counted from 0."""
    deleted_method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    deleted_path: str = ""
    """What follows the address to take a record back, with `{id}` or `{uuid}`."""


class PushOptions(Destination.Options, frozen=True, kw_only=True):
    """What the file says of a push."""

    url: Url
    template: str | None = None
    """`kommo`, `pipedrive`, or the path of a file of one's own."""
    secret: str | None = None
    """`whsec_` and base64: requests are signed with it."""
    token: str | None = None
    """Shown as `Authorization: Bearer`."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    rate: Rate | None = None
    """Instead of the template's; `10/1s` where neither says."""
    region: Region | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=120)] = 20
    tries: Annotated[int, Meta(ge=1, le=20)] = 6
    unsure: Literal["list", "resend"] = "list"
    """What is done with a record of which no answer came, where sending it again may double it."""

    contacts: ClassVar[Literal["none"]] = "none"


class Push(Crm):
    """The destination."""

    Options = PushOptions
    vendor: ClassVar[str] = "the address"

    def __init__(self, options: PushOptions, context: Context) -> None:
        self._form = _form(options)
        self._key = _key(options.secret)
        self._template = _template(self._form)
        self.size = self._form.batch  # type: ignore[misc]  # of the template
        self.batch_size = min(100 * self.size, 2000)  # type: ignore[misc]  # whoever stops a run waits for one
        self.keyed = self._form.repeatable  # type: ignore[misc]  # likewise
        super().__init__(options, context)

    def connect(self) -> Http:
        """See `Crm`."""
        options: PushOptions = self.options
        requests, _, window = (options.rate or self._form.rate or "10/1s").rstrip("s").partition("/")
        shown = {"Authorization": f"Bearer {options.token}"} if options.token else {}
        return Http(
            self.vendor,
            options.url,
            Pace(int(requests) / int(window), sleep=self.context.pause),
            headers=lambda: {"Content-Type": "application/json", **shown, **options.headers},
            reason=_reason,
            timeout_s=options.timeout_s,
            tries=options.tries,
        )

    def prepare(self, *, make: bool) -> None:
        """Whether somebody listens there; nothing is sent but a question for the methods, and that only to check."""
        if make:
            return
        try:
            self.http.send("OPTIONS", "")
        except Refused:
            return  # it answered

    def read(self, record: Mapping[str, Any]) -> Call:
        """See `Crm`. Without a template everything is sent, not calls alone."""
        return call_of(record, self.options.region) if self._template else any_call_of(record, self.options.region)

    def payload(self, call: Call) -> Mapping[str, Any]:
        """See `Crm`."""
        if self._template is None:
            return {"type": "cdr.changed", "timestamp": _iso(call), "data": dict(call.record)}
        filled = self._template.filled(_values(call))
        if not isinstance(filled, dict):
            raise DestinationProblem("the template is no JSON object")
        return filled

    def send(self, items: Sequence[Item]) -> Mapping[str, Outcome]:
        """See `Crm`."""
        fresh = [item for item in items if not (self._form.once and item.known)]
        outcomes: dict[str, Outcome] = {item.call.uuid: Took(item.known) for item in items if item.known}
        if not fresh:
            return outcomes
        payloads = [_indexed(item.payload, at) for at, item in enumerate(fresh)]
        content = json.dumps(payloads if self._form.batch > 1 else payloads[0], ensure_ascii=False).encode()
        name = hashlib.sha256(" ".join(f"{item.call.uuid} {item.digest}" for item in fresh).encode()).hexdigest()[:32]
        body = self._posted("POST", "", content, f"msg_{name}")
        failed = self._failed(body, fresh)
        for item in fresh:
            id_ = str(_at(body, self._form.id) or "") if self._form.id else ""
            outcomes[item.call.uuid] = failed.get(item.call.uuid) or Took(id_ or item.call.uuid)
        return outcomes

    def _posted(self, method: str, path: str, content: bytes, name: str) -> Any:
        return self.http.send(
            method,
            path,
            content=content,
            sign=(lambda: signed(self._key, name, now_ms() // 1000, content)) if self._key else None,
            again=self.keyed or method != "POST",
        ).body

    def _failed(self, body: Any, items: Sequence[Item]) -> dict[str, Failed]:
        failed = {}
        for one in (_at(body, self._form.failed_list) or ()) if self._form.failed_list else ():
            index = str(one.get(self._form.failed_index, "")) if isinstance(one, dict) else ""
            if index.isdigit() and int(index) < len(items):
                uuid = items[int(index)].call.uuid
                failed[uuid] = Failed(uuid, f"{self.vendor}: {_reason(one) or 'not taken'}", retry=True)
        return failed

    def remove(self, known: Mapping[str, str | None]) -> Sequence[Failed]:
        """See `Crm`: one by one, if the template has a way to."""
        failed = []
        for uuid, id_ in known.items():
            if self._template is not None and not self._form.deleted_path:
                words = "the record is erased, but the template has no way to take back what was sent"
                failed.append(Failed(uuid, words, retry=False))
                continue
            path = self._form.deleted_path.replace("{id}", quote(id_ or "", safe="")).replace("{uuid}", uuid)
            event = {"type": "cdr.deleted", "timestamp": _now(), "data": {"uuid": uuid}}
            content = b"" if self._form.deleted_method == "DELETE" else json.dumps(event).encode()
            try:
                self._posted(self._form.deleted_method, path, content, f"msg_deleted_{uuid}")
            except Refused as refused:
                if refused.status != 404:
                    failed.append(Failed(uuid, str(refused), retry=False))
        return failed

    def look(self, item: Item) -> str | None:
        """See `Crm`."""
        if self.options.unsure == "list":
            raise NotImplementedError
        return None

    def find(self, numbers: Sequence[str]) -> Sequence[Contact]:
        """Nobody is looked for."""
        return ()

    def make(self, numbers: Sequence[str]) -> Mapping[str, str]:
        """Nobody is made."""
        return {}


def signed(key: bytes, name: str, at_s: int, content: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks 1.0.0 for a message: its id, the second of this attempt, and the signature."""
    text = f"{name}.{at_s}.".encode() + content
    signature = base64.b64encode(hmac.digest(key, text, "sha256")).decode()
    return {"webhook-id": name, "webhook-timestamp": str(at_s), "webhook-signature": f"v1,{signature}"}


def _key(secret: str | None) -> bytes:
    if secret is None:
        return b""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise DestinationProblem("the secret is not `whsec_` and base64") from None
    if len(key) < 24:
        raise DestinationProblem(f"the secret has {len(key)} bytes; 24 to 64 are safe")
    return key


def _form(options: PushOptions) -> Form:
    if options.template is None:
        return Form()
    try:
        if options.template in SHIPPED:
            place = files("calldex.sync.destinations").joinpath("templates", f"{options.template}.toml")
            text = place.read_text(encoding="utf-8")
        else:
            text = Path(options.template).read_text(encoding="utf-8")
        return msgspec.convert(tomllib.loads(text), Form)
    except OSError as error:
        words = f"the template {options.template} cannot be read: {error.strerror}; shipped: {', '.join(SHIPPED)}"
        raise DestinationProblem(words) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise DestinationProblem(f"the template {options.template} cannot be read: {error}") from None


def _template(form: Form) -> Template | None:
    try:
        return Template(form.body, NAMES) if form.body else None
    except BadTemplate as error:
        raise DestinationProblem(f"the template's body is wrong: {error}") from None


def _values(call: Call) -> dict[str, Any]:
    """Everything that a template may ask for."""
    inbound = call.direction == "inbound"
    values: dict[str, Any] = {name: call.record.get(name) for name in NAMES}
    values |= {
        "direction": call.direction,
        "customer": call.customer,
        "customer_e164": call.customer_e164,
        "own": call.own,
        "own_e164": call.own_e164,
        "from_e164": call.customer_e164 if inbound else call.own_e164,
        "to_e164": call.own_e164 if inbound else call.customer_e164,
        "subject": call.subject,
        "notes": call.notes,
        "started_unix": int(call.at.timestamp()),
        "ended_unix": int(call.ended.timestamp()),
        "started_sql": call.at.strftime("%Y-%m-%d %H:%M:%S"),
        "ended_sql": call.ended.strftime("%Y-%m-%d %H:%M:%S"),
        "duration_s": call.duration_s,
        "talk_s": call.talk_s,
        "duration_s_text": str(call.duration_s),
        "talk_s_text": str(call.talk_s),
        "index": _INDEX,
    }
    return values


_INDEX: Final = "\x00index"
"""Stands for the place in the batch until that is known."""


def _indexed(payload: Mapping[str, Any], at: int) -> dict[str, Any]:
    return {name: str(at) if value == _INDEX else value for name, value in payload.items()}


def _at(body: Any, path: str) -> Any:
    for name in path.split("."):
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _iso(call: Call) -> str:
    return call.ended.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _reason(body: Any) -> str:
    """The words of most APIs, wherever they have them."""
    if not isinstance(body, dict):
        return ""
    names = ("title", "detail", "message", "error", "error_info", "hint")
    return "; ".join(str(body[name]) for name in names if body.get(name))[:500]
