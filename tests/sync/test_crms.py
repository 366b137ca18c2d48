"""Each CRM, against a server that keeps to what its vendor publishes."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from calldex.sync.crm.base import Crm
from calldex.sync.destinations import Batch, Change, DestinationProblem
from calldex.sync.destinations.bitrix24 import Bitrix24
from calldex.sync.destinations.hubspot import HubSpot
from calldex.sync.destinations.push import Push, signed
from calldex.sync.destinations.salesforce import Salesforce
from calldex.sync.destinations.zendesk import Zendesk
from calldex.sync.stopping import Stopped
from tests.examples import first_are_quick
from tests.sync import vendors
from tests.sync.crm import CUSTOMERS, call, changed, customer, destination, erased, uuid_of, words
from tests.sync.vendors import bitrix24, hubspot, inbox, salesforce, zendesk
from tests.sync.vendors.server import Vendor, answers, dropped, lost

Made = Callable[..., tuple[Any, Any]]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long where no vendor asks to."""
    monkeypatch.setattr("calldex.sync.crm.http._LONGEST_PAUSE_S", 0.05)


@pytest.fixture
def made() -> Iterator[Made]:
    """Makes a vendor and a destination for it."""
    ended: list[Callable[[], None]] = []

    def make(vendor: Vendor, memory: dict[str, str] | None = None, **options: Any) -> tuple[Crm, Vendor]:
        if vendor.url not in [one.url for one in started]:
            vendor.__enter__()
            started.append(vendor)
            ended.append(vendor.__exit__)
        kind, given = _OPTIONS[type(vendor)]
        found = destination(kind, memory, **{"url": vendor.url, **given(vendor), **options})
        ended.append(found.close)
        return found, vendor

    started: list[Vendor] = []
    yield make
    for end in reversed(ended):
        end()


_OPTIONS: dict[type[Vendor], tuple[type[Crm], Callable[[Any], dict[str, Any]]]] = {
    hubspot.HubSpot: (HubSpot, lambda vendor: {"token": "pat-1"}),
    salesforce.Salesforce: (
        Salesforce,
        lambda vendor: {"client_id": "id", "client_secret": "hush", "refresh_token": "refresh"},
    ),
    zendesk.Zendesk: (
        Zendesk,
        lambda vendor: {"email": "ann@example.com", "token": "hush", "app_id": 5, "requests_per_minute": 6000},
    ),
    bitrix24.Bitrix24: (
        Bitrix24,
        lambda vendor: {
            "client_id": "id",
            "client_secret": "hush",
            "refresh_token": "refresh-0",
            "agent": "1",
            "oauth_url": vendor.url,
        },
    ),
    inbox.Inbox: (Push, lambda vendor: {"rate": "1000/1s"}),
    inbox.Kommo: (
        Push,
        lambda vendor: {"url": f"{vendor.url}/api/v4/calls", "template": "kommo", "token": "hush", "rate": "1000/1s"},
    ),
    inbox.Pipedrive: (
        Push,
        lambda vendor: {"template": "pipedrive", "headers": {"x-api-token": "hush"}, "rate": "1000/1s"},
    ),
}


_ALL: tuple[Callable[[], Any], ...] = (
    lambda: hubspot.HubSpot(1000, 1),
    salesforce.Salesforce,
    lambda: zendesk.Zendesk(60_000),
    lambda: bitrix24.Bitrix24(100, 100),
)


def _calls(vendor: Any) -> dict[str, Any]:
    """What the vendor has, in whatever shape."""
    found: dict[str, Any] = vendor.tasks if isinstance(vendor, salesforce.Salesforce) else vendor.calls
    return found


@pytest.mark.parametrize("at", range(4), ids=["hubspot", "salesforce", "zendesk", "bitrix24"])
def test_calls_arrive_once_and_a_second_run_changes_nothing(made: Made, at: int) -> None:
    """Every call is there; sent again, also by a process that remembers and one that is new, none is there twice."""
    memory: dict[str, str] = {}
    vendor = _ALL[at]()
    crm, _ = made(vendor, memory)
    crm.check()
    records = [call(one) for one in range(130)]
    assert [] == crm.apply(changed(records))
    before = dict(_calls(vendor))
    assert 130 == len(before)
    asked = len(vendor.requests)
    assert [] == crm.apply(changed(records))
    again, _ = made(vendor, memory)
    assert [] == again.apply(changed(records))
    assert before == _calls(vendor)
    harmless = ("search", "batch", "token", "scope")
    writing = [one for one in vendor.requests[asked:] if not any(word in one.path for word in harmless)]
    assert [] == [one.path for one in writing if one.method != "GET"]


@pytest.mark.parametrize("at", [0, 1], ids=["hubspot", "salesforce"])
def test_a_vendor_that_knows_our_ids_needs_no_memory(made: Made, at: int) -> None:
    """A process that remembers nothing sends all again, and still none is there twice."""
    vendor = _ALL[at]()
    made(vendor)[0].check()
    for _ in range(2):
        assert [] == made(vendor)[0].apply(changed([call(one) for one in range(20)]))
        assert 20 == len(_calls(vendor))


def test_hubspot_has_what_a_call_is(made: Made) -> None:
    """Direction, numbers in E.164, milliseconds, the outcome, the owner of the agent."""
    crm, vendor = made(hubspot.HubSpot(), agents={"Ann Lee": "77"})
    crm.check()
    assert [] == crm.apply(changed([call(1), call(3)]))
    answered, abandoned = vendor.calls.values()
    assert {
        "calldex_uuid": uuid_of(1),
        "hs_timestamp": "2026-11-02T09:01:00.000Z",
        "hs_call_title": "Outbound call, answered",
        "hs_call_body": "Agent: Ann Lee\nQueue: Sales\nWrap-up: Sold",
        "hs_call_direction": "OUTBOUND",
        "hs_call_duration": "90000",
        "hs_call_from_number": "+442079460018",
        "hs_call_to_number": "+447700900001",
        "hs_call_status": "COMPLETED",
        "hubspot_owner_id": "77",
    } == answered
    assert "NO_ANSWER" == abandoned["hs_call_status"]


def test_hubspot_names_the_one_bad_call_and_takes_the_others(made: Made) -> None:
    """A batch that is refused whole is sent in halves; of one that is taken in part the vendor's words are told."""
    crm, vendor = made(hubspot.HubSpot(1000, 1))
    crm.check()
    vendor.bad, vendor.partly = {uuid_of(41)}, {uuid_of(90)}
    failed = words(crm.apply(changed([call(one) for one in range(100)])))
    assert {
        uuid_of(41): (f"HubSpot answered 400: {uuid_of(41)} was not valid", False),
        uuid_of(90): ("HubSpot: cannot be written", False),
    } == failed
    assert 98 == len(vendor.calls)
    vendor.bad = vendor.partly = set()
    assert [] == crm.apply(changed([call(41), call(90)]))
    assert 100 == len(vendor.calls)


def test_contacts_are_matched_by_their_number(made: Made) -> None:
    """However it is written, in whichever field; of several the oldest, or as the option says; nobody else's."""
    crm, vendor = made(hubspot.HubSpot(), region="GB")
    crm.check()
    young = vendor.contact("07700 900001", "2026-05-01T00:00:00Z")
    old = vendor.contact("", "2020-05-01T00:00:00Z", mobile="+44 7700 900001")
    vendor.contact("+33 7700900001", "2019-05-01T00:00:00Z")  # the same digits, of another country
    assert [] == crm.apply(changed([call(1), call(2)]))
    assert {(uuid_of(1), old)} == vendor.associations
    newest, _ = made(vendor, several="newest", region="GB")
    assert [] == newest.apply(changed([call(8)]))
    assert (uuid_of(8), young) in vendor.associations
    nobody, _ = made(vendor, several="none", region="GB")
    assert [] == nobody.apply(changed([call(15)]))
    assert {uuid_of(1), uuid_of(8)} == {uuid for uuid, _ in vendor.associations}


@pytest.mark.parametrize("at", range(4), ids=["hubspot", "salesforce", "zendesk", "bitrix24"])
def test_contacts_are_made_if_asked(made: Made, at: int) -> None:
    """One for each number that nobody has, and not again although the search does not find it yet."""
    vendor = _ALL[at]()
    memory: dict[str, str] = {}
    crm, _ = made(vendor, memory, contacts="create")
    crm.check()
    assert [] == crm.apply(changed([call(one) for one in range(2 * CUSTOMERS)]))
    people = (getattr(vendor, name) for name in ("contacts", "people", "users", "entities") if hasattr(vendor, name))
    made_now: dict[Any, Any] = next(people)
    assert CUSTOMERS == len(made_now)
    vendor.hidden = True
    assert [] == crm.apply(changed([call(one) for one in range(2 * CUSTOMERS, 3 * CUSTOMERS)]))
    assert CUSTOMERS == len(made_now)


def test_salesforce_prefers_contacts_to_leads(made: Made) -> None:
    """A lead counts where no contact has the number, although it is older."""
    crm, vendor = made(salesforce.Salesforce())
    lead = vendor.person("Lead", "+44 7700 900001", "2019-01-01T00:00:00.000+0000")
    other = vendor.person("Lead", "+44 7700 900002", "2019-01-01T00:00:00.000+0000")
    contact = vendor.person("Contact", "+44 (0)1", "2024-01-01T00:00:00.000+0000", mobile="+447700900001")
    assert [] == crm.apply(changed([call(1), call(2), call(3)]))
    whose = {task["Calldex_UUID__c"]: task.get("WhoId") for task in vendor.tasks.values()}
    assert {uuid_of(1): contact, uuid_of(2): other, uuid_of(3): None} == whose
    assert lead not in whose.values()


def test_salesforce_takes_a_part_and_the_rest_later(made: Made) -> None:
    """200 a request, results in order; a lock passes, a rule of the organization does not."""
    crm, vendor = made(salesforce.Salesforce())
    vendor.locked, vendor.bad = {uuid_of(3): 1}, {uuid_of(250)}
    records = [call(one) for one in range(401)]
    assert {
        uuid_of(3): ("Salesforce: UNABLE_TO_LOCK_ROW: unable to obtain exclusive access to this record", True),
        uuid_of(250): ("Salesforce: FIELD_CUSTOM_VALIDATION_EXCEPTION: Calls need a reason", False),
    } == words(crm.apply(changed(records)))
    sizes = sorted(len(one.body["records"]) for one in vendor.requests if one.method == "PATCH")
    assert [1, 200, 200] == sizes
    assert [] == crm.apply(changed([records[3]]))
    assert 400 == len(vendor.tasks)


def test_salesforce_renews_its_token(made: Made) -> None:
    """As often as it expires, whoever finds out; a wrong secret ends the run, and is not told."""
    crm, vendor = made(salesforce.Salesforce(uses=2))
    crm.check()
    for some in range(4):
        assert [] == crm.apply(changed([call(one) for one in range(some * 250, some * 250 + 250)]))
    assert 1000 == len(vendor.tasks)
    assert vendor.tokens > 4
    wrong, _ = made(vendor, client_secret="open")
    with pytest.raises(DestinationProblem, match=r"no token: .*invalid_client") as told:
        wrong.check()
    assert "open" not in str(told.value)


def test_salesforce_leaves_the_organization_its_requests(made: Made) -> None:
    """Beyond nine tenths of the 24 hours' requests nothing more is sent."""
    crm, vendor = made(salesforce.Salesforce(quota=100))
    vendor.used = 91
    with pytest.raises(DestinationProblem, match="of the organization's 100 requests"):
        crm.apply(changed([call(1)]))
    assert vendor.used < 95


def test_a_lacking_field_is_told(made: Made) -> None:
    """`check` says what to make, where."""
    crm, vendor = made(salesforce.Salesforce())
    vendor.external = False
    with pytest.raises(DestinationProblem, match="no field Calldex_UUID__c on activities"):
        crm.check()
    other, account = made(hubspot.HubSpot())
    account.unique = {"name": "calldex_uuid", "hasUniqueValue": False}
    with pytest.raises(DestinationProblem, match="does not have unique values"):
        other.check()


@pytest.mark.parametrize("at", [0, 1], ids=["hubspot", "salesforce"])
def test_what_is_erased_is_taken_out(made: Made, at: int) -> None:
    """Those that are there; one that is gone already does not disturb."""
    vendor = _ALL[at]()
    crm, _ = made(vendor)
    crm.check()
    assert [] == crm.apply(changed([call(one) for one in range(5)]))
    assert [] == crm.apply(erased(1, 3, 99))
    assert [] == crm.apply(erased(1))
    assert 3 == len(_calls(vendor))
    assert [] == crm.apply(changed([call(1)]))
    assert 4 == len(_calls(vendor))


@pytest.mark.parametrize("at", [0, 1], ids=["hubspot", "salesforce"])
def test_a_uuid_may_be_any_text(made: Made, at: int) -> None:
    """An endpoint that is not Calldex may have others than we; they are taken out as any."""
    vendor = _ALL[at]()
    crm, _ = made(vendor)
    crm.check()
    uuids = ("ABCDEF01-6F3A-8D21-9A3B-000000000001", "o'clock", "a\\'b)")
    assert [] == crm.apply(changed([call(one, uuid=uuid) for one, uuid in enumerate(uuids)]))
    assert 3 == len(_calls(vendor))
    assert [] == crm.apply(Batch([Change(uuid, 0, None) for uuid in uuids]))
    assert 0 == len(_calls(vendor))


@pytest.mark.parametrize("at", [2, 3], ids=["zendesk", "bitrix24"])
def test_what_cannot_be_taken_out_is_listed(made: Made, at: int) -> None:
    """Zendesk and Bitrix24 delete no calls."""
    vendor = _ALL[at]()
    crm, _ = made(vendor)
    assert [] == crm.apply(changed([call(1)]))
    failed = words(crm.apply(erased(1, 99)))
    assert [uuid_of(1)] == list(failed)
    assert "deletes no calls" in failed[uuid_of(1)][0]


def test_a_changed_call_changes_in_zendesk(made: Made) -> None:
    """The same call, by Zendesk's id; with its end user."""
    crm, vendor = made(zendesk.Zendesk(60_000))
    user = vendor.user("+44 7700900001", "2026-01-01T00:00:00Z")
    assert [] == crm.apply(changed([call(1)]))
    assert [] == crm.apply(changed([call(1, disposition="busy")]))
    (found,) = vendor.calls.values()
    assert ("busy", user, "+442079460018") == (found["call_disposition"], found["end_user_id"], found["from_line"])


def test_zendesk_lists_what_it_may_have(made: Made) -> None:
    """A call whose answer got lost is not made twice, unless asked; one that surely did not arrive is sent again."""
    memory: dict[str, str] = {}
    crm, vendor = made(zendesk.Zendesk(60_000), memory, tries=2)
    vendor.fail("/calls", lost, answers(503), answers(429, retry_after="0"))
    failed = words(crm.apply(changed([call(1)])))
    assert "Zendesk did not answer" in failed[uuid_of(1)][0]
    assert failed[uuid_of(1)][1]
    with pytest.raises(DestinationProblem):  # 503 and 429 say that nothing was done
        crm.apply(changed([call(2)]))
    assert [] == crm.apply(changed([call(2)]))
    failed = words(crm.apply(changed([call(1)])))
    assert "may have it" in failed[uuid_of(1)][0]
    assert not failed[uuid_of(1)][1]
    assert 2 == len(vendor.calls)
    again, _ = made(vendor, memory, unsure="resend")
    assert [] == again.apply(changed([call(1)]))
    assert 3 == len(vendor.calls)


def test_a_record_that_a_vendor_could_not_take_is_told(made: Made) -> None:
    """What it lacks, without asking the vendor."""
    crm, vendor = made(zendesk.Zendesk())
    failed = words(crm.apply(changed([call(0, **{"from": None})])))
    assert {uuid_of(0): ("the record lacks a number, and Zendesk takes no call without both", False)} == failed
    assert 0 == vendor.count("calls")


def test_bitrix24_has_what_a_call_is(made: Made) -> None:
    """Registered and finished by one batch of 50 commands, put to the contact before the lead."""
    crm, vendor = made(bitrix24.Bitrix24(), agents={"7": "33"})
    vendor.entities = {"+447700900001": {"LEAD": [4], "CONTACT": [9, 8]}}
    assert [] == crm.apply(changed([call(one) for one in range(1, 27)]))
    writing = [one for one in vendor.requests if one.path == "/rest/batch" and "r0" in one.body["cmd"]]
    assert [2, 50] == sorted(len(one.body["cmd"]) for one in writing)
    first = next(one for one in vendor.calls.values() if one["CALL_START_DATE"] == "2026-11-02T09:01:00+00:00")
    assert ("33", "1", "CONTACT", "8", "60", "200") == tuple(
        first[name] for name in ("USER_ID", "TYPE", "CRM_ENTITY_TYPE", "CRM_ENTITY_ID", "DURATION", "STATUS_CODE")
    )
    assert {"DURATION"} <= set.intersection(*(set(one) for one in vendor.calls.values()))


def test_bitrix24_finishes_what_it_registered(made: Made) -> None:
    """A command of a batch fails by itself; the call is not registered twice."""
    crm, vendor = made(bitrix24.Bitrix24())
    vendor.fails = {
        ("telephony.externalCall.register", f"+{customer(1)}"),
        ("telephony.externalCall.finish", f"+{customer(2)}"),
    }
    failed = words(crm.apply(changed([call(1), call(2), call(3)])))
    assert {uuid_of(1), uuid_of(2)} == set(failed)
    assert "INTERNAL_SERVER_ERROR" in failed[uuid_of(1)][0]
    assert "not as ended" in failed[uuid_of(2)][0]
    assert 2 == len(vendor.calls)
    assert [] == crm.apply(changed([call(1), call(2), call(3)]))
    assert 3 == len(vendor.calls)
    assert {"60", "0"} == {one["DURATION"] for one in vendor.calls.values()}


def test_bitrix24_looks_up_what_it_may_have(made: Made) -> None:
    """A batch whose answer got lost is not registered again; one that did not arrive is."""
    crm, vendor = made(bitrix24.Bitrix24(), contacts="none")
    vendor.fail("batch", lost)
    assert {uuid_of(1), uuid_of(2)} == set(words(crm.apply(changed([call(1), call(2)]))))
    assert [] == crm.apply(changed([call(1), call(2)]))
    assert 2 == len(vendor.calls)
    vendor.fail("batch", dropped)
    assert {uuid_of(5)} == set(words(crm.apply(changed([call(5)]))))
    assert [] == crm.apply(changed([call(5)]))
    assert 3 == len(vendor.calls)


def test_bitrix24_keeps_both_budgets(made: Made) -> None:
    """A method that has nearly worked its 480 seconds is left alone until the time that Bitrix24 names."""
    crm, vendor = made(bitrix24.Bitrix24(), contacts="none")
    vendor.operating, vendor.reset_at = {"telephony.externalCall.finish": 470.0}, time.time() + 1.2
    assert [] == crm.apply(changed([call(1)]))
    assert [] == crm.apply(changed([call(2)]))
    assert vendor.requests[-1].at - vendor.requests[-2].at > 0.9
    vendor.reset_at = time.time() + 500
    crm.apply(changed([call(3)]))
    with pytest.raises(DestinationProblem, match="limit is used up"):
        crm.apply(changed([call(4)]))


def test_a_refresh_token_is_good_once(made: Made) -> None:
    """The one that Bitrix24 gave last is remembered, also by the next process."""
    memory: dict[str, str] = {}
    vendor = bitrix24.Bitrix24()
    for one in range(3):
        crm, _ = made(vendor, memory)
        assert [] == crm.apply(changed([call(one)]))
    assert "refresh-3" == vendor.refresh == memory["token:refresh"]


@pytest.mark.parametrize("fault", [answers(429, retry_after="0"), answers(503), answers(502), lost, dropped])
def test_troubles_on_the_way(made: Made, fault: Any) -> None:
    """A limit, a pause, an error, a connection that breaks, an answer that gets lost: it is tried again."""
    crm, vendor = made(hubspot.HubSpot())
    crm.check()
    vendor.fail("upsert", fault, fault)
    assert [] == crm.apply(changed([call(1), call(2)]))
    assert (3, 2) == (vendor.count("upsert"), len(vendor.calls))


def test_nobody_answers_in_time(made: Made) -> None:
    """An answer that takes too long is none; after the tries the run ends and says so."""
    crm, vendor = made(hubspot.HubSpot(), timeout_s=0.2, tries=2)
    crm.check()

    def slow(carry_out: Callable[[], vendors.server.Answer]) -> vendors.server.Answer:
        time.sleep(0.5)
        return carry_out()

    vendor.fail("upsert", slow, slow)
    with pytest.raises(DestinationProblem, match=r"HubSpot did not answer .*tried 2 times"):
        crm.apply(changed([call(1)]))
    vendor.fail("upsert", answers(429, retry_after="7200"))
    with pytest.raises(DestinationProblem, match="come again in 7200 s"):
        crm.apply(changed([call(1)]))
    assert [] == crm.apply(changed([call(1)]))
    wrong, _ = made(vendor, token="pat-2")
    with pytest.raises(DestinationProblem, match="HubSpot answered 401: Authentication credentials not found") as told:
        wrong.check()
    assert "pat-2" not in str(told.value)


def test_what_arrived_before_trouble_is_not_sent_again(made: Made) -> None:
    """A vendor that goes away in the middle: the batch comes again, and goes on where it was."""
    crm, vendor = made(zendesk.Zendesk(60_000), contacts="none", tries=1)
    vendor.fail("/calls", *[answers(503)] * 3)
    records = [call(one) for one in range(40)]
    with pytest.raises(DestinationProblem):
        crm.apply(changed(records))
    assert 0 < len(vendor.calls) < 40
    assert [] == crm.apply(changed(records))
    assert 40 == len(vendor.calls)


def test_a_limit_that_is_told_is_kept(made: Made) -> None:
    """From HubSpot's first answer on, its headers say how fast it is asked, and not what the file says. How far a limit
    is used is told by a clock of its own, in `test_crm.py`."""
    crm, _ = made(hubspot.HubSpot(2, 1000), contacts="none", requests_per_10s=100)
    waits: list[float] = []

    def slept(seconds: float) -> None:
        waits.append(seconds)
        raise Stopped

    crm.http.pace.sleep = slept
    for one in range(5):
        with suppress(Stopped):
            crm.apply(changed([call(one)]))
    assert (True, True) == (waits[0] < 1, waits[-1] > 100)


# --- push -------------------------------------------------------------------------------------------------------------

_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of Standard Webhooks."""
    key = base64.b64decode(_SECRET.removeprefix("whsec_"))
    headers = signed(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" == headers["webhook-signature"]


def test_every_record_is_pushed_and_signed(made: Made) -> None:
    """Messages and internal calls too; a repeated message has the same id and body, and a signature of its own time."""
    crm, vendor = made(inbox.Inbox(), secret=_SECRET)
    crm.check()
    vendor.fail("/", answers(500), lost)
    assert [] == crm.apply(changed([call(1), call(2, type="outbound_sms")]))
    assert 2 == len(vendor.messages)
    for name, request in vendor.messages.items():
        at_s = int(request.headers["webhook-timestamp"])
        expected = signed(base64.b64decode(_SECRET[6:]), name, at_s, request.raw)
        assert expected["webhook-signature"] == request.headers["webhook-signature"]
        assert abs(at_s - time.time()) < 60
    assert {uuid_of(1), uuid_of(2)} == {one.body["data"]["uuid"] for one in vendor.messages.values()}
    assert [] == crm.apply(changed([call(1, disposition="busy")]))
    assert [] == crm.apply(erased(2))
    assert ["cdr.changed"] * 3 + ["cdr.deleted"] == [one.body["type"] for one in vendor.messages.values()]


def test_kommo_takes_the_calls_of_those_it_knows(made: Made) -> None:
    """The others are listed with its words; what it took is not sent again."""
    crm, vendor = made(inbox.Kommo({f"+{customer(1)}"}))
    failed = words(crm.apply(changed([call(1), call(2), call(8)])))
    assert {uuid_of(2): ("the address: Entity not found", True)} == failed
    assert {uuid_of(1), uuid_of(8)} == set(vendor.calls)
    assert ("outbound", 60, 4) == tuple(
        vendor.calls[uuid_of(1)][name] for name in ("direction", "duration", "call_status")
    )
    vendor.known.add(f"+{customer(2)}")
    assert [] == crm.apply(changed([call(2), call(1, disposition="busy")]))
    assert [uuid_of(2)] == [one["uniq"] for one in vendor.requests[-1].body]


def test_pipedrive_logs_and_forgets(made: Made) -> None:
    """A log has its form; what may have arrived is not sent again; what is erased is taken back by Pipedrive's id."""
    crm, vendor = made(inbox.Pipedrive())
    assert [] == crm.apply(changed([call(1)]))
    (log,) = vendor.logs.values()
    assert ("connected", "+447700900001", "2026-11-02 09:01:00", "60") == tuple(
        log[name] for name in ("outcome", "to_phone_number", "start_time", "duration")
    )
    vendor.fail("/", lost)
    assert {uuid_of(2)} == set(words(crm.apply(changed([call(2)]))))
    assert not next(iter(words(crm.apply(changed([call(2)]))).values()))[1]
    assert [] == crm.apply(erased(1))
    assert 1 == len(vendor.logs)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"secret": "whsec_c2hvcnQ="}, "has 5 bytes"),
        ({"secret": "!"}, "not `whsec_` and base64"),
        ({"template": "zoho"}, "shipped: kommo, pipedrive"),
    ],
)
def test_a_wrong_push_is_refused(made: Made, options: dict[str, str], why: str) -> None:
    """Before anything is sent."""
    with pytest.raises(DestinationProblem, match=why):
        made(inbox.Inbox(), **options)


_NO_ANSWERS: list[Any] = ["be back soon", {"error": "NOT_NOW", "message": "not now"}, [], None]
_ASKED = {
    "hubspot": ("properties", "upsert", "contacts/search", "contacts/batch/create", "associations"),
    "salesforce": ("oauth2/token", "describe", "/search", "composite/sobjects/Task", "composite/sobjects"),
    "zendesk": ("users/me", "users/search", "/users", "/calls"),
    "bitrix24": ("oauth/token", "scope", "batch"),
}


@pytest.mark.parametrize("said", first_are_quick(_NO_ANSWERS, 1))
@pytest.mark.parametrize(
    ("at", "path"), first_are_quick(((at, path) for at, paths in enumerate(_ASKED.values()) for path in paths), 6)
)
def test_a_200_that_holds_no_answer(made: Made, at: int, path: str, said: Any) -> None:
    """A page for people, an error, nothing: whatever was asked for, it is told in a sentence with the vendor's name,
    and gone on with; no call is there twice, and one that is not there is listed."""
    memory: dict[str, str] = {}
    vendor = _ALL[at]()
    crm, _ = made(vendor, memory, contacts="create")
    vendor.fail(path, answers(200, said))
    records = [call(one) for one in range(3)]
    try:
        told = [failed.message for failed in crm.apply(changed(records))]
    except DestinationProblem as problem:
        told = [str(problem)]
    assert [] == vendor.faults, "it was not asked for"
    assert told or said == []  # of nothing that was made
    assert all(type(crm).vendor in each for each in told)
    left = words(crm.apply(changed(records)))
    assert all("may have it" in each for each, _ in left.values())
    assert 3 == len(_calls(vendor)) + len(left)
