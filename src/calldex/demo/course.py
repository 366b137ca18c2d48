"""How interactions go in a centre: when they come, what they are, how they end, what happens in between, how often.

Tables only, made to be picked from with one draw each, and the hours that they rest on; `floor` plays them. Which
outcome may occur where is the contract's to say.
"""

from __future__ import annotations

from typing import Final

import msgspec

from calldex.demo.chance import lengths, spread
from calldex.records.record import Disposition, EndReason, EventType, InteractionType

SECOND: Final = 1_000
HOUR: Final = 3_600 * SECOND
HALF_HOUR: Final = HOUR // 2
DAY: Final = 24 * HOUR

CURVE: Final = (
    *(2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3),
    *(5, 9, 18, 32, 55, 74, 90, 100, 104, 102, 96, 88),
    *(68, 60, 66, 80, 92, 95, 93, 88, 82, 74, 62, 48),
    *(36, 28, 20, 15, 11, 8, 6, 5, 4, 3, 3, 2),
)
"""Arrivals in each half hour of a day, UTC: two peaks, lunch between them, and quiet nights."""
WEEKDAYS: Final = (118, 106, 100, 98, 90, 36, 8)
"""Each weekday's share of arrivals, from Monday."""
_OPEN: Final = (*((7, 20),) * 5, (9, 17), (0, 0))  # business hours, UTC, from Monday; Sundays closed


def weekday(at: int) -> int:
    """The day of the week of an instant in epoch ms, 0 is Monday; 1970 began on a Thursday."""
    return (at // DAY + 3) % 7


def is_open(at: int) -> bool:
    """Whether an instant (epoch ms) is within business hours."""
    opens, closes = _OPEN[weekday(at)]
    return opens <= at % DAY // HOUR < closes


def next_open(at: int) -> int:
    """The instant itself within business hours, else when they begin next."""
    while not is_open(at):
        at += HOUR - at % HOUR
    return at


OPEN_TYPES: Final[tuple[InteractionType, ...]] = spread(
    {
        "inbound": 530,
        "outbound": 115,
        "dialer": 115,
        "click_to_call": 60,
        "internal": 40,
        "outbound_sms": 40,
        "whatsapp": 35,
        "web_chat": 25,
        "HLR_lookup": 14,
        "facebook": 12,
        "instagram": 8,
        "telegram": 6,
    }
)
CLOSED_TYPES: Final[tuple[InteractionType, ...]] = spread(
    {"inbound": 70, "outbound_sms": 8, "HLR_lookup": 8, "whatsapp": 7, "web_chat": 4, "facebook": 3}
)
CALLBACKS: Final[tuple[InteractionType, ...]] = spread({"queue_callback": 3, "scheduled_callback": 1})
"""What follows when a caller left a queue and asked to be called back: at once, or at a time of their choice."""
DIGITAL: Final = frozenset({"whatsapp", "facebook", "instagram", "telegram", "web_chat"})

PLACED: Final[dict[InteractionType, tuple[Disposition, ...]]] = {
    "outbound": spread(
        {
            "answered": 56,
            "no_answer": 20,
            "busy": 8,
            "machine_answered": 7,
            "rejected": 4,
            "failed": 3,
            "system_reject": 2,
        }
    ),
    "click_to_call": spread(
        {
            "answered": 66,
            "no_answer": 17,
            "busy": 6,
            "machine_answered": 4,
            "rejected": 3,
            "failed": 3,
            "system_reject": 1,
        }
    ),
    "dialer": spread(
        {
            "answered": 38,
            "no_answer": 26,
            "machine_answered": 18,
            "busy": 8,
            "rejected": 4,
            "failed": 4,
            "system_reject": 2,
        }
    ),
    "queue_callback": spread({"answered": 88, "failed": 12}),
    "scheduled_callback": spread({"answered": 88, "failed": 12}),
    "internal": spread({"answered": 93, "failed": 7}),
}
"""How the calls end that somebody here, or the dialer, makes."""
SMS: Final[tuple[Disposition, ...]] = spread(
    {"delivered": 76, "sent": 12, "not_delivered": 7, "route_unavailable": 3, "not_sent": 2}
)
LOOKUP: Final[tuple[Disposition, ...]] = spread({"available": 80, "absent": 15, "failed": 5})


class Unreached(msgspec.Struct, frozen=True):
    """How a call goes that reaches nobody: shortest and longest time in ms, whether it rang, what may have ended it."""

    shortest: int
    longest: int
    rings: bool
    reasons: tuple[EndReason | None, ...]


UNREACHED: Final[dict[Disposition, Unreached]] = {
    "failed": Unreached(800, 6_000, False, (None, "remote_party_disconnect")),
    "busy": Unreached(1_500, 4_500, False, ("remote_party_disconnect",)),
    "no_answer": Unreached(22_000, 46_000, True, ("timeout",)),
    "rejected": Unreached(2_500, 16_000, True, ("remote_party_disconnect",)),
    "machine_answered": Unreached(8_000, 26_000, True, ("machine_disconnect",)),
    "dialer_abandoned": Unreached(5_000, 24_000, True, ("customer_disconnect", "timeout")),
    "system_reject": Unreached(40, 400, False, ("system_reject", "dncr_rejected", "dncr_rejected", "dncr_failure")),
    "missed": Unreached(3_000, 30_000, True, ("customer_disconnect",)),
    "system_abandoned": Unreached(9_000, 32_000, False, ("system_reject", "timeout")),
}
PICKED_UP: Final = frozenset({"machine_answered", "dialer_abandoned"})
"""The far end answers these, but nobody here talks to it; they end `PICKED_UP_MS` later."""
PICKED_UP_MS: Final = 4 * SECOND

ENDINGS: Final[tuple[EndReason, ...]] = spread(
    {"customer_disconnect": 640, "agent_disconnect": 340, "remote_party_disconnect": 15, "manager_terminate": 5}
)
CHAT_ENDINGS: Final[tuple[EndReason, ...]] = spread({"agent_disconnect": 60, "customer_disconnect": 25, "timeout": 15})
HAPPENINGS: Final[tuple[EventType, ...]] = spread(
    {
        "hold": 70,
        "dtmf": 14,
        "supervisor_monitored": 7,
        "conference": 5,
        "supervisor_joined": 3,
        "agent_logged_off": 1,
        "parked": 2,
    }
)
TAKEN: Final[tuple[EventType | None, ...]] = (None,) * 96 + ("pickup", "pickup", "forwarded", "forwarded")
"""How a call comes to another telephone than the one it was for."""
TRANSFERS: Final[tuple[EventType, ...]] = spread({"attended_transfer": 2, "blind_transfer": 1, "queue_transfer": 1})

PATIENCE: Final = lengths(95, 0.85, 3, 1_500)
TALKS: Final = lengths(185, 0.85, 4, 5_400)
HOLDS: Final = lengths(38, 0.8, 3, 600)
CHATS: Final = lengths(540, 0.8, 20, 14_400)
WRAPUPS: Final = lengths(22, 0.8, 1, 300)

AGAIN: Final = lengths(200, 1.1, 15, 3_000)
"""After how long somebody calls again who was not answered."""
RETURNS: Final = lengths(1_800, 0.9, 240, 14_400)
"""After how long a missed call is returned."""

SHORT_MS: Final = 20 * SECOND
"""A conversation that is shorter came to nothing."""
SOLD: Final = frozenset(("0100", "0320", "0400", "0420", "0500"))
"""Codes of what takes its time."""
SOLD_MS: Final = 75 * SECOND

TAGS: Final = {
    "0100": (("upsell",), ("first contact",), ("vip",)),
    "0110": (("follow-up",),),
    "0210": (("delivery", "late"), ("delivery",)),
    "0220": (("complaint",), ("réclamation",), ("devolución",), ("vip", "complaint"), ("refund",)),
    "0320": (("follow-up",),),
    "0330": (("outage",),),
    "0400": (("vip",),),
    "0410": (("fraud check",), ("refund",)),
    "0500": (("vip",), ("retained",)),
}
"""What labels go with a code; a conversation that ends in another code has none, or one of `ANY_TAGS`."""
ANY_TAGS: Final = (("vip",), ("first contact",), ("follow-up",))
COMMENTS: Final = {
    "0100": ("Price matched with the competitor's offer.", "Ordered the larger package, contract sent by e-mail."),
    "0110": ("Asked to be called back after 17:00.", "Prefers to be contacted in the morning."),
    "0120": ("Happy with the present contract.", "Will think about it, does not want to be called again."),
    "0200": ("Address changed, confirmation sent by e-mail.", "Explained the opening hours; satisfied."),
    "0210": (
        "Parcel shown as delivered, customer has not received it. Opened a trace with the carrier.",
        "客户要求更改送货地址。",
    ),
    "0220": (
        "Wants to speak to a supervisor if it happens again.",
        "Refund approved, three to five working days.",
    ),
    "0300": ("Router restarted, line stable afterwards.", "New cable sent, works on Wi-Fi until then."),
    "0310": ("Line test failed twice, second line takes over.",),
    "0320": ("Engineer comes on Thursday between 8 and 12.",),
    "0330": ("Affected by the outage, told to wait for the text message.",),
    "0400": ("Card declined once, paid by transfer.", "Paid in full by card."),
    "0410": ("Explained the final invoice; satisfied.",),
    "0420": ("Pays in three parts from next month.",),
    "0430": ("Promised to pay by Friday.",),
    "0500": ("Stays for two more years at the lower price.",),
    "0510": ("Moves abroad, contract ends with the month.", "Changed to a competitor, offer was declined."),
    "0600": ("Very satisfied, would recommend us.",),
}
"""What agents write beside a code."""
SPOKEN: Final = {
    "español": ("Cliente pide la factura en español y confirma el número de pedido.", "Reclama el retraso del envío."),
    "français": ("Demande une copie de la facture.", "Souhaite changer l'adresse de livraison, c'est fait."),
}
"""What agents of some skills write instead, whatever the code."""


def outage(end: int) -> tuple[int, int]:
    """When the bad day's outage began and ended (ms): a weekday morning of the last two weeks before the end."""
    day = end // DAY - 9
    while weekday(day * DAY) not in {1, 2, 3}:
        day -= 1
    return day * DAY + 19 * HALF_HOUR, day * DAY + 25 * HALF_HOUR


def launch(end: int) -> tuple[int, int]:
    """When the campaign of the demo ran (ms): ten days, some three weeks before the end."""
    begin = (end // DAY - 24) * DAY
    return begin, begin + 10 * DAY
