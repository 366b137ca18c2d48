"""`POST /api/ingest/v1/records`: records that other systems push; `/deletions`: records that they take back.

Each record is judged by itself, and the reply says of each what became of it. What the reply calls accepted, updated or
deleted is durable and visible.
"""

from __future__ import annotations

import codecs
import hashlib
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import islice
from typing import Final, Literal, cast, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.access import Permission, Principal, permit
from calldex.api.audited import audited
from calldex.api.endpoint import ERRORS, Endpoint, parameter
from calldex.audit.chain import Action
from calldex.clock import now_ms
from calldex.directory import KeyOwner
from calldex.errors import BadParameters, BadRequest, Problem, TooLarge, UnsupportedMedia
from calldex.ingest.pipeline import Post
from calldex.ingest.posted import Piece
from calldex.ingest.tally import OUTCOMES, PostOutcome
from calldex.ingest.workers import Block
from calldex.node import Node
from calldex.records import codec
from calldex.records.record import Rejected, plain_uuid
from calldex.store import Outcome
from calldex.texts import without_keys
from calldex.transport.metrics import Metrics
from calldex.transport.replies import JSON, sized
from calldex.transport.requests import body_of, caller, media_type_of, only, query_pairs
from calldex.transport.together import Together
from calldex.transport.workers import Workers

BODY_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a body, as sent and also when inflated."""
SMALL: Final = 64 * 1024
"""Bodies of up to so many bytes, of a stated length, have places of their own: those of telephone systems that post one
record at a time, of which many may wait for one commit."""
MOST_RECORDS: Final = 10_000
MOST_COMMAS: Final = 1_000_000
"""How many an array may have, inside of its records and between them. Real ones have half as many at most; `[0,0,0...`
of 16 MiB would need half a gigabyte, and a second in which nothing else runs, before its elements could be counted."""
ARRAY_TYPE: Final = "application/json"
ACTION: Final = "ingest"
DELETED: Final = "records_deleted"
NEEDS: Final[tuple[Permission, ...]] = ("ingest",)
LINES_TYPES: Final = ("application/x-ndjson", "application/jsonl")
_MEANT: Final = '{"uuids": [...]}'
_STEP: Final = 1024
_RECEIPT_KEY: Final = re.compile(r"[!-~]{1,200}")
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Body(msgspec.Struct, frozen=True):
    """A kind of body of records: what it holds in a word, its JSON schema, and what cuts it into pieces (once, before
    anything is written), each a record's JSON or what was read already; where a piece stood is told by its index,
    whatever a reader calls it."""

    holds: str
    schema: Mapping[str, object]
    cut: Callable[[bytes], Iterable[Piece]]


class _Deletions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body that names records to be deleted."""

    uuids: list[msgspec.Raw]


_DELETIONS: Final = msgspec.json.Decoder(_Deletions)


class RecordOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of the record at `index` of the request: its uuid, or the reason why it was rejected."""

    index: int
    outcome: PostOutcome
    uuid: str | None = None
    reason: str | None = None


class IngestReply(msgspec.Struct, frozen=True):
    """What became of the records of a request: how many of each outcome, and each by itself."""

    accepted: int
    updated: int
    unchanged: int
    rejected: int
    records: list[RecordOutcome]


DeletionWord = Literal["deleted", "absent", "rejected"]
DELETIONS: Final[tuple[DeletionWord, ...]] = get_args(DeletionWord)


class DeletionOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of the record whose uuid stands at `index` of the request: its uuid, or the reason why what stands
    there was rejected."""

    index: int
    outcome: DeletionWord
    uuid: str | None = None
    reason: str | None = None


class DeletionReply(msgspec.Struct, frozen=True):
    """What became of the uuids of a request: how many of each outcome, and each by itself."""

    deleted: int
    absent: int
    rejected: int
    records: list[DeletionOutcome]


class _Counts(msgspec.Struct, frozen=True):
    """What the audit tells of a reply; it may be one of an earlier request with the same key."""

    accepted: int
    updated: int
    unchanged: int
    rejected: int

    @property
    def rows(self) -> int:
        """How many records were changed."""
        return self.accepted + self.updated


class _Deleted(msgspec.Struct, frozen=True):
    """The same of a reply to deletions."""

    deleted: int
    absent: int
    rejected: int

    @property
    def rows(self) -> int:
        """How many records were changed."""
        return self.deleted


class _Given(msgspec.Struct, frozen=True):
    """What a request gave, as far as it was read: of whom it is, what its body is and says, and what `reads` it."""

    account_id: int
    media_type: str
    body: bytes
    zipped: bool
    receipt_key: str | None
    accept: str
    reads: Callable[[_Given], Post]
    counts: type[_Counts | _Deleted]

    def digest(self, route: bytes = b"") -> bytes:
        """What tells this request from another one under the same key."""
        if self.receipt_key is None:
            return b""
        return hashlib.sha256(route + self.media_type.encode() + b"\0" + self.body).digest()


_Made = tuple[Response, _Counts | _Deleted]


class Posts:
    """The handler, over a node."""

    def __init__(self, node: Node, workers: Workers, small: Workers, metrics: Metrics) -> None:
        """`small`: the places of small posts, which are carried out together."""
        self._node = node
        self._workers = workers
        self._small = small
        self._together = Together("ingest-small", self._carried_out)
        self._metrics = metrics

    async def post(self, request: Request) -> Response:
        """Write records."""
        media = {kind: body.holds for kind, body in BODIES.items()}
        return await self._answered(request, ACTION, media, self._records, _Counts)

    async def delete(self, request: Request) -> Response:
        """End records that their source took back."""
        return await self._answered(request, DELETED, {ARRAY_TYPE: _MEANT}, _deletions, _Deleted)

    async def _answered(
        self,
        request: Request,
        action: Action,
        media: Mapping[str, str],
        reads: Callable[[_Given], Post],
        counts: type[_Counts | _Deleted],
    ) -> Response:
        """The reply to a request; the audit is told its counts."""
        owner, pairs = await caller(request, self._node.directory, query_pairs(request))
        async with audited(self._node.audit, request, owner, action) as noted:
            permit(owner, NEEDS)
            only(pairs, ())
            media_type, zipped = _media_type(request, media), _is_zipped(request)
            receipt_key = _receipt_key(request, owner)
            accept = request.headers.get("accept-encoding", "")
            # Memory is bounded by the places, so a body is read only by who has one.
            is_small = not zipped and _length(request) <= SMALL
            workers = self._small if is_small else self._workers
            async with workers.place(None):
                body = await body_of(request, SMALL if is_small else BODY_LIMIT)
                given = _Given(owner.account_id, media_type, body, zipped, receipt_key, accept, reads, counts)
                if is_small:
                    reply, found = await self._together.run(given)
                else:
                    reply, found = await workers.run(lambda: _sized(self._node.ingest.post(_read(given)), given))
            noted.rows = found.rows
            noted.detail = msgspec.structs.asdict(found)
        return reply

    def _carried_out(self, some: Sequence[_Given]) -> list[_Made | Exception]:
        """The replies to some requests and their counts, or why one is refused."""
        posts = [_tried(_read, given) for given in some]
        answers = iter(self._node.ingest.post_all([post for post in posts if isinstance(post, Post)]))
        found = [next(answers) if isinstance(post, Post) else post for post in posts]
        return [
            answer if isinstance(answer, Exception) else _sized(answer, given)
            for answer, given in zip(found, some, strict=True)
        ]

    def _records(self, given: _Given) -> Post:
        sent = self._node.ingest.readers.block(_pieces(given.body, given.media_type))

        def answer(outcomes: Sequence[Outcome]) -> bytes:
            reply = _reply(sent, outcomes)
            newest_ms = max((int(record.values[0]) for record in sent.records), default=0)
            words = [found.outcome for found in reply.records]
            self._node.ingest.tally.count("", now_ms(), words, newest_ms)
            self._node.ingest.tally.name(given.account_id, now_ms(), sent.newest)
            return msgspec.json.encode(reply)

        return Post(given.account_id, sent, given.receipt_key, given.digest(), answer)


def _deletions(given: _Given) -> Post:
    pieces = _uuids(given.body)

    def answer(outcomes: Sequence[Outcome]) -> bytes:
        return msgspec.json.encode(_deletion_reply(pieces, outcomes))

    uuids = [piece for piece in pieces if isinstance(piece, str)]
    # The route is part of it: the key of a request to write is another request's.
    digest = given.digest(b"deletions\0")
    return Post(given.account_id, Block([], [], []), given.receipt_key, digest, answer, removed=uuids)


def _read(given: _Given) -> Post:
    if given.zipped:
        given = msgspec.structs.replace(given, body=_inflated(given.body))
    return given.reads(given)


def _tried(read: Callable[[_Given], Post], given: _Given) -> Post | Exception:
    """What is wrong with one request is told to it alone."""
    try:
        return read(given)
    except Exception as error:  # noqa: BLE001 - it is raised where the request is answered
        return error


def _sized(answer: bytes, given: _Given) -> _Made:
    return sized(answer, given.accept, JSON), msgspec.json.decode(answer, type=given.counts)


def _reply(sent: Block, outcomes: Sequence[Outcome]) -> IngestReply:
    words = [cast("PostOutcome", outcome.value) for outcome in outcomes]
    counts = {**dict.fromkeys(OUTCOMES, 0), **Counter(words), "rejected": len(sent.rejects)}
    reasons = {int(reject.where): without_keys(reject.reason) for reject in sent.rejects}
    indexes = (index for index in range(len(words) + len(reasons)) if index not in reasons)
    records = list(map(RecordOutcome, indexes, words, [one.uuid for one in sent.records]))
    if reasons:
        records += [RecordOutcome(index, "rejected", reason=reason) for index, reason in reasons.items()]
        records.sort(key=lambda each: each.index)
    return IngestReply(**counts, records=records)


def _deletion_reply(pieces: Sequence[str | Rejected], outcomes: Sequence[Outcome]) -> DeletionReply:
    left = iter(outcomes)
    counts = dict.fromkeys(DELETIONS, 0)
    records: list[DeletionOutcome] = []
    for index, piece in enumerate(pieces):
        if isinstance(piece, Rejected):
            found = DeletionOutcome(index, "rejected", reason=without_keys(piece.reason))
        else:
            found = DeletionOutcome(index, cast("DeletionWord", next(left).value), uuid=piece)
        counts[found.outcome] += 1
        records.append(found)
    return DeletionReply(**counts, records=records)


# --- the request ------------------------------------------------------------------------------------------------------


def _media_type(request: Request, media: Mapping[str, str]) -> str:
    """The type of the body: one of `media`, which says of each what it holds."""
    found = media_type_of(request)
    if found not in media:
        given = f"the content type {found[:100]!r} is not read" if found else "no content type is given"
        raise UnsupportedMedia(f"{given}; send {', or '.join(f'{name} ({held})' for name, held in media.items())}")
    return found


def _length(request: Request) -> float:
    """How long the body is said to be; without an end if that is not said."""
    said = request.headers.get("content-length", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) <= len(str(BODY_LIMIT)) else math.inf


def _is_zipped(request: Request) -> bool:
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise UnsupportedMedia(f"the content encoding {coding[:100]!r} is not read; send gzip, or none")
    return coding != "identity"


def _receipt_key(request: Request, owner: Principal) -> str | None:
    """The key of the request's answer: of an API key's own, so that two clients may choose the same."""
    given = request.headers.get("idempotency-key")
    if given is None:
        return None
    if not _RECEIPT_KEY.fullmatch(given):
        problem = Problem("Idempotency-Key", given[:100], "cannot be used", "1 to 200 visible ASCII characters")
        raise BadParameters([problem])
    return f"{owner.key_id}:{given}" if isinstance(owner, KeyOwner) else f"user {owner.user_id}:{given}"


def _inflated(sent: bytes) -> bytes:
    """What a gzip body holds, of one member or several; never more of it in memory than the limit."""
    parts: list[bytes] = []
    size = at = members = 0
    whole = memoryview(sent)
    while at < len(sent):
        members += 1
        if members > MOST_RECORDS:
            raise TooLarge(f"a gzip body may have up to {MOST_RECORDS} members; this one has more")
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            if at == len(sent):
                raise BadRequest("the body is not gzip: it ends too early")
            # In small steps, since what belongs to the next member is copied out of each.
            piece = whole[at : at + _STEP]
            at += len(piece)
            try:
                parts.append(member.decompress(piece, BODY_LIMIT + 1 - size))
            except zlib.error as error:
                raise BadRequest(f"the body is not gzip: {error}") from None
            size += len(parts[-1])
            if size > BODY_LIMIT:
                raise TooLarge(f"a body may have up to {BODY_LIMIT} bytes when inflated; this one has more")
        at -= len(member.unused_data)
    return b"".join(parts)


def _pieces(body: bytes, media_type: str) -> list[Piece]:
    """What the body holds; where a piece stands is its index."""
    body = body.removeprefix(codecs.BOM_UTF8)  # some clients put one there; it is no part of any record
    pieces = list(islice(BODIES[media_type].cut(body), MOST_RECORDS + 1))
    if len(pieces) > MOST_RECORDS:
        raise TooLarge(f"a request may hold {MOST_RECORDS} records; this one has more")
    return pieces


def _array(body: bytes) -> Iterable[bytes]:
    try:
        return _elements(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not a JSON array of records: {error}") from None


def _lines(body: bytes) -> Iterator[bytes]:
    """The lines that are not blank."""
    return (line.removesuffix(b"\n") for line in BytesIO(body) if not line.isspace())


def _elements(body: bytes) -> Iterable[bytes]:
    """The elements of a JSON array, each as it was written.

    The decoder stops at half of a character (`\\ud800` alone), although JSON allows it. With such escapes out of its
    sight it tells where the elements are, so that only the record that has one is rejected.
    """
    _refuse_commas(body)
    try:
        return map(bytes, _ARRAY.decode(body))
    except msgspec.DecodeError:
        seen = codec.without_halves(body)
    elements: list[bytes] = []
    end = 0
    for raw in map(bytes, _ARRAY.decode(seen)):
        start = seen.index(raw, end)  # between two elements is nothing but white space and a comma
        end = start + len(raw)
        elements.append(body[start:end])
    return elements


def _refuse_commas(body: bytes) -> None:
    if body.count(b",") > MOST_COMMAS:
        raise TooLarge(f"a request may have {MOST_COMMAS} commas; this one has more. Send fewer records at once")


def _uuids(body: bytes) -> list[str | Rejected]:
    """The uuids that a body names, each in its plain form, or why it is none."""
    body = body.removeprefix(codecs.BOM_UTF8)
    _refuse_commas(body)
    try:
        # An escape that is half of a character stands in no uuid; with it in sight the decoder would refuse all.
        raws = _DELETIONS.decode(codec.without_halves(body)).uuids
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not {_MEANT}: {error}") from None
    if len(raws) > MOST_RECORDS:
        raise TooLarge(f"a request may name {MOST_RECORDS} uuids; this one has more")
    return [_uuid(bytes(raw), f"uuid {index}") for index, raw in enumerate(raws)]


def _uuid(raw: bytes, where: str) -> str | Rejected:
    try:
        found = plain_uuid(msgspec.json.decode(raw, type=str))
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = None
    given = raw[:100].decode(errors="replace")
    return found or Rejected(f"{where}: {given} is not a uuid of 32 hexadecimal digits", where, raw)


_LINES: Final = {"type": "string", "description": "A JSON object on each line."}
_ARRAY_SCHEMA: Final = {
    "type": "array",
    "maxItems": MOST_RECORDS,
    "items": {"anyOf": [{"$ref": "#/components/schemas/Record"}, {"description": "Rejected, with the reason."}]},
}
BODIES: Final[Mapping[str, Body]] = {
    ARRAY_TYPE: Body("an array", _ARRAY_SCHEMA, _array),
    **dict.fromkeys(LINES_TYPES, Body("a record a line", _LINES, _lines)),
}
"""What records can be posted as, by content type; another record format is one entry more."""
_UUIDS_SCHEMA: Final = {
    "type": "object",
    "required": ["uuids"],
    "additionalProperties": False,
    "properties": {
        "uuids": {
            "type": "array",
            "maxItems": MOST_RECORDS,
            "items": {"anyOf": [{"type": "string", "format": "uuid"}, {"description": "Rejected, with the reason."}]},
        }
    },
}
_KEY_OF_REQUEST: Final = parameter(
    "Idempotency-Key",
    "Of several requests with one such key, within a day, the first is carried out, and all get its reply.",
    {"type": "string", "pattern": "^[!-~]{1,200}$"},
    "batch-2026-01-31-0001",
    where="header",
)
ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/api/ingest/v1/records",
        handler=lambda handlers: handlers.posts.post,
        id="post_records",
        tag="Ingest",
        summary="Send records in",
        description=(
            f"Up to {MOST_RECORDS} records or {BODY_LIMIT // 2**20} MiB, as a JSON array or as JSON Lines; gzip is read"
            " (`Content-Encoding: gzip`). Needs a key for ingest. Each record is judged by itself; what is called"
            " accepted or updated is durable and can be searched. A record that is sent again unchanged makes no new"
            " version.\n\nA record has the members of `Record`. Fewer will do: `uuid`, `type`, `disposition`, a begin"
            " (`timestamp` or `started_at`) and a length (`duration`, `duration_s` or `ended_at`)."
        ),
        gives=IngestReply,
        credential="key",
        needs=NEEDS,
        action=ACTION,
        limit="ingest",
        parameters=(_KEY_OF_REQUEST,),
        body={media_type: body.schema for media_type, body in BODIES.items()},
        errors=(*ERRORS, 409),
    ),
    Endpoint(
        method="POST",
        path="/api/ingest/v1/deletions",
        handler=lambda handlers: handlers.posts.delete,
        id="post_deletions",
        tag="Ingest",
        summary="Take records back",
        description=(
            f"Up to {MOST_RECORDS} uuids, in any usual spelling; gzip is read (`Content-Encoding: gzip`). Needs a key"
            " for ingest. What is called deleted is found no longer, and `GET /api/v2/cdr/changes` tells it;"
            " searches that began before still see it until their tokens end. What is not there is absent: to delete"
            " again does no harm. A record that is sent in again is there again; so is a call that is put together from"
            " rows of a phone system, if another row of it comes in."
        ),
        gives=DeletionReply,
        credential="key",
        needs=NEEDS,
        action=DELETED,
        limit="ingest",
        parameters=(_KEY_OF_REQUEST,),
        body={ARRAY_TYPE: _UUIDS_SCHEMA},
        errors=(*ERRORS, 409),
    ),
)
