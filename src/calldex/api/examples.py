"""An example of everything that the API gives, as its own type: what the document shows, and tests compare with it.

A `Listing` and a `list` are made of the example of what they hold.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, get_args, get_origin

import msgspec

from calldex.access import Explanation, Mask, Reach, ReachLine
from calldex.admin.exports import ShownSchedule
from calldex.admin.keys import ListedKey, MadeKey
from calldex.admin.missed import Mark
from calldex.admin.names import NameOfCode, NameOfId
from calldex.admin.signin import SessionsEnded, UserSession
from calldex.admin.sources import SourceState
from calldex.admin.users import ShownUser
from calldex.admin.verb import Listing
from calldex.admin.views import ViewInfo
from calldex.api.audit import AuditEntry, AuditPage
from calldex.api.cdr import CdrPage
from calldex.api.changes import FeedChange, FeedReply
from calldex.api.export_jobs import ExportList, ShownExport
from calldex.api.health import Alive
from calldex.api.history import FieldChange, HistoryReply, RecordVersion
from calldex.api.ingest import DeletionOutcome, DeletionReply, IngestReply, RecordOutcome
from calldex.api.missed import CallAnswer, MissedCaller, MissedReply
from calldex.api.openid import Ways
from calldex.api.signin import SessionReply, SignedInUser
from calldex.api.statistics import Checksum, ChecksumReply, StatsReply
from calldex.directory import Account, GroupInfo, Imported, ListedUser, Named, TeamInfo, WrapupCode
from calldex.recordings.audio import Peaks
from calldex.records import codec
from calldex.records.codec import Record
from calldex.records.record import Cdr, Event, Team
from calldex.transport.replies import Readiness

_BEGAN: Final = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
_LATER: Final = datetime(2026, 1, 31, 8, 5, tzinfo=UTC)
_UUID: Final = "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44"
_CDR: Final = Cdr(
    uuid=_UUID,
    type="inbound",
    disposition="answered",
    started_at=_BEGAN,
    answered_at=datetime(2026, 1, 31, 8, 0, 20, tzinfo=UTC),
    ended_at=_LATER,
    from_="447700900412",
    to="442079460018",
    did="442079460018",
    end_reason="agent_disconnect",
    agent="Ana Ruiz",
    agent_id=1201,
    queue="Sales",
    queue_id=501,
    teams=(Team(101, "Sales"),),
    wrapup_code="0100",
    wrapup_description="0100: Sale",
    duration_s=300,
    talk_s=280,
    ring_s=5,
    wait_s=15,
    events=(Event(type="queued", at=_BEGAN, queue="Sales"),),
    tags=("vip",),
)
_USER: Final = ShownUser(
    id=3,
    account="main",
    email="ana@example.com",
    name="Ana Ruiz",
    role="agent",
    groups=("Sales history",),
    teams=(101,),
    supervises=(),
    disabled=False,
    timezone="Europe/Madrid",
    effective_timezone="Europe/Madrid",
    extension="201",
    sip_account="ana",
    caller_id=None,
    skills=("spanish",),
    agent_id=1201,
    created_at=_BEGAN,
    disabled_at=None,
)
_KEY: Final = ListedKey(
    id=7,
    prefix="cdx_Ab3d",
    user="ana@example.com",
    scopes=("read",),
    networks=("192.0.2.0/24",),
    created_at=_BEGAN,
    last_used_at=_LATER,
    revoked_at=None,
    expires_at=None,
    vocabulary=None,
)
_OF_TYPE: Final[dict[Any, Any]] = {
    type(each): each
    for each in (
        msgspec.json.decode(codec.encode(_CDR), type=Record),
        Named(1201, "Ana Ruiz"),
        WrapupCode("0100", "0100: Sale"),
        ListedUser(
            id=3,
            name="Ana Ruiz",
            email="ana@example.com",
            extension="201",
            sag="Agent, Sales history",
            timezone="Europe/Madrid",
            agent_in_teams="101",
            supervisor_in_teams="",
            assigned_skills="spanish",
        ),
        IngestReply(
            accepted=1,
            updated=0,
            unchanged=0,
            rejected=1,
            records=[
                RecordOutcome(0, "accepted", uuid=_UUID),
                RecordOutcome(1, "rejected", reason="record 1: disposition: 'answer' is not a value"),
            ],
        ),
        DeletionReply(
            deleted=1,
            absent=0,
            rejected=1,
            records=[
                DeletionOutcome(0, "deleted", uuid=_UUID),
                DeletionOutcome(1, "rejected", reason="uuid 1: '4711' is not a uuid of 32 hexadecimal digits"),
            ],
        ),
        _USER,
        _KEY,
        UserSession(
            id=11,
            user="ana@example.com",
            created_at=_BEGAN,
            last_used_at=_LATER,
            expires_at=_LATER,
            address="192.0.2.7",
            client="Firefox",
        ),
        SessionsEnded(2),
        MadeKey(key="cdx_ followed by 43 characters", **msgspec.structs.asdict(_KEY)),
        Imported(added=2, changed=1, unchanged=0),
        Explanation(
            email="ana@example.com",
            groups=("Agent",),
            permissions={"see_cdrs": ("Agent",)},
            withheld=("export",),
            reach=(ReachLine(group="Agent", by="own", agents=(1201,)),),
            mask=Mask(numbers=True, match=False),
        ),
        TeamInfo(id=101, name="Sales", queues=(501,), agents=("ana@example.com",), supervisors=("bo@example.com",)),
        GroupInfo(
            id=5,
            name="Sales history",
            permissions=("see_cdrs", "export"),
            reach=Reach(teams=(101,)),
            members=("ana@example.com",),
            system=False,
        ),
        SourceState(name="pbx", format="asterisk", created_at=_BEGAN, last_ingest_at=_BEGAN, lag_s=42, quarantined=0),
        NameOfId(501, "Sales", pinned=True),
        NameOfCode("0100", "0100: Sale", pinned=False),
        Account(1, "main", "Europe/London"),
        SignedInUser(
            email="ana@example.com",
            name="Ana Ruiz",
            account="main",
            role="agent",
            groups=("Agent",),
            permissions=("see_cdrs",),
            timezone="Europe/Madrid",
            expires_at=_LATER,
        ),
        SessionReply(
            id=11,
            created_at=_BEGAN,
            last_used_at=_LATER,
            expires_at=_LATER,
            address="192.0.2.7",
            client="Firefox",
            current=True,
        ),
        Ways(openid=True),
        Peaks(duration_s=61.5, channels=[[0, 3, 127, 90], [64, 2, 0, 1]]),
        Alive(),
        ShownSchedule(
            id=1,
            name="nightly",
            at="02:00",
            timezone="Europe/London",
            target="lake",
            parameters={"format": "parquet", "type": "inbound"},
            made_by="ana@example.com",
            created_at=_BEGAN,
            next_at=datetime(2026, 2, 1, 2, 0, tzinfo=UTC),
        ),
        ShownExport(
            id="5f0c9a1e77b2d3045f0c9a1e77b2d304",
            state="done",
            format="csv",
            parameters={"format": "csv", "type": "inbound", "timezone": "Europe/London"},
            made_by="ana@example.com",
            credential="cdx_Ab3d",
            schedule=None,
            day=None,
            created_at=_BEGAN,
            ended_at=_LATER,
            expires_at=datetime(2026, 2, 7, 8, 0, tzinfo=UTC),
            records=812,
            total=812,
            bytes=391204,
            sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            reason=None,
            link="/api/v2/cdr/exports/5f0c9a1e77b2d3045f0c9a1e77b2d304/file?link=Jq1cX0d2",
            link_expires_at=datetime(2026, 1, 31, 9, 5, tzinfo=UTC),
        ),
        Readiness(ready=True, down=(), left_percent=0, reason=None),
        AuditEntry(
            n=42,
            at=_BEGAN,
            actor="ana@example.com",
            user_id=3,
            credential="cdx_Ab3d",
            address="192.0.2.7",
            request_id="4f1c2b7a90d3e865",
            action="search",
            target="",
            detail={"type": "inbound"},
            rows=12,
            status=200,
        ),
    )
}
_OF_TYPE[ExportList] = ExportList([_OF_TYPE[ShownExport]])
_OF_TYPE[CdrPage] = CdrPage(records=[_OF_TYPE[Record]], total=1, page=1, search_token=None)
_OF_TYPE[FeedReply] = FeedReply(
    changes=[FeedChange(seq=17, change="upsert", uuid=_CDR.uuid, at=_BEGAN, record=_OF_TYPE[Record])],
    next_cursor="Jq1cX0d2",
    has_more=False,
    complete_through=_BEGAN,
)
_OF_TYPE[StatsReply] = StatsReply(
    groups=[{"bucket": "2026-11-01", "disposition": "answered", "calls": 812, "talk_s": 161234}],
    total={"calls": 812, "talk_s": 161234},
    timezone="Europe/London",
)
_OF_TYPE[ChecksumReply] = ChecksumReply(
    checksums=[Checksum(from_="2026-11-01", to="2026-11-01", count=812, hash="5f0c9a1e77b2d304")],
    as_of=901234,
    timezone="Europe/London",
)
_MARK: Final = Mark(uuid=_UUID, by="bo@example.com", at=_LATER, note="sent a mail")
_OF_TYPE[Mark] = _MARK
_OF_TYPE[MissedReply] = MissedReply(
    missed=[
        MissedCaller(
            uuid=_UUID,
            from_="447700900412",
            to="442079460018",
            did="442079460018",
            queue="Sales",
            queue_id=501,
            disposition="abandoned",
            state="returned",
            attempts=1,
            first_missed_at=_BEGAN,
            last_missed_at=_BEGAN,
            answer=CallAnswer("01980c23-02b0-8d21-9a3b-5c1f0e7d2b45", _LATER, "Ana Ruiz", 1201),
            time_to_return_s=300,
            uuids=[_UUID],
            mark=_MARK,
            done=True,
        )
    ],
    total=1,
    page=1,
    search_token=None,
    callback_hours=24,
)
_OF_TYPE[ViewInfo] = ViewInfo(
    id=3,
    name="Lost calls",
    query="type=inbound&disposition=abandoned",
    shared=True,
    own=False,
    by="bo@example.com",
    created_at=_BEGAN,
    changed_at=_LATER,
)
_OF_TYPE[HistoryReply] = HistoryReply(
    versions=[
        RecordVersion(seq=19, at=_LATER, changes=[FieldChange(field="wrapup_code", before=None, after="0100")]),
        RecordVersion(seq=17, at=_BEGAN, changes=[]),
    ],
    total=2,
)
_OF_TYPE[AuditPage] = AuditPage([_OF_TYPE[AuditEntry]], before=42)
_OF_TYPE[str] = ""
_OF_TYPE[dict[str, Any]] = {"openapi": "3.1.0"}


def example_of(kind: Any) -> Any:
    """The example of a type, as JSON has it."""
    return msgspec.to_builtins(_made(kind))


def _made(kind: Any) -> Any:
    if kind in _OF_TYPE:
        return _OF_TYPE[kind]
    if not get_args(kind):
        raise TypeError(f"{kind.__name__} is a reply without an example; add one to `_OF_TYPE` in {__name__}")
    (inner,) = get_args(kind)
    return Listing([_made(inner)], 1) if get_origin(kind) is Listing else [_made(inner)]
