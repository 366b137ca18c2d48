"""The settings of an Asterisk source: what is refused, and that each is described."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from calldex.errors import BadSettings
from calldex.formats import settings_of
from calldex.formats.asterisk import FORMAT
from calldex.formats.asterisk.settings import AsteriskSettings, profile


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (
            {"zone": "Europe/Lodnon"},
            "is not a time zone, did you mean 'Europe/London'?; valid is an IANA name such as Europe/London, or UTC",
        ),
        ({"zone": "utc"}, "did you mean 'UTC'?"),
        ({"zone": "../etc/passwd"}, "is not a time zone; valid is an IANA name"),
        ({"zone": ""}, "is not a time zone; valid is an IANA name"),
        ({"columns": ("start", "calldate")}, "unknown column 'calldate'; valid are accountcode, src"),
        ({"columns": ("start", "start")}, "start is given twice"),
        ({"columns": ("start", "channel", "end", "billsec")}, "no disposition among start, channel, end, billsec"),
        ({"charset": "utf-16"}, "charset='utf-16' is not an encoding that holds ASCII"),
        ({"charset": "utf-7"}, "is not an encoding that holds ASCII"),
        ({"charset": "nonsense"}, "is not an encoding that holds ASCII"),
        ({"extensions": ("10x?",)}, "'10x?' is not a dialplan pattern"),
        ({"extensions": ("[9-1]",)}, "'[9-1]' is not a dialplan pattern"),
        ({"extensions": ("",)}, "'' is not a dialplan pattern"),
        ({"trunks": ("",)}, "trunks: an empty pattern"),
        ({"outbound_prefix": "nine"}, "only digits, * and # can be dialled"),
        ({"agents": ("PJSIP/agent1",)}, "'PJSIP/agent1' is not CHANNEL=NAME"),
        ({"agents": ("SIP/1=Ann", "SIP/1=Bob")}, "SIP/1 is given as 'Ann' and as 'Bob'"),
        ({"agents": ("SIP/gw=Ann",), "trunks": ("SIP/gw-*",)}, "SIP/gw is a trunk by SIP/gw-*"),
        (
            {"inbound_contexts": ("a", "b"), "outbound_contexts": ("b",)},
            "b: in inbound_contexts and in outbound_contexts",
        ),
        ({"dialer": ("x",), "click_to_call": ("x",)}, "x: in dialer and in click_to_call"),
    ],
)
def test_settings_that_are_no_good_say_what_is_valid(given_: dict[str, Any], message: str) -> None:
    """The start stops with what was given and what could have been."""
    with pytest.raises(ValueError, match=r".") as raised:
        AsteriskSettings(**{"zone": "UTC", **given_})
    assert message in str(raised.value)


def test_every_setting_is_described() -> None:
    """The reference page is made of these descriptions."""
    info = msgspec.json.schema(AsteriskSettings)["$defs"]["AsteriskSettings"]["properties"]
    assert [] == [name for name, field in info.items() if not field.get("description")]


def test_an_item_of_a_list_may_hold_a_comma() -> None:
    """In double quotes, as in CSV; a quote that is not closed is refused."""
    given_ = {"zone": "UTC", "agents": '"PJSIP/agent1=Moreno, Alice" , PJSIP/agent2=Ben, '}
    found = settings_of(FORMAT, given_)
    assert isinstance(found, AsteriskSettings)
    assert ("PJSIP/agent1=Moreno, Alice", "PJSIP/agent2=Ben") == found.agents
    with pytest.raises(BadSettings, match=r"agents .*: has a double quote that is not closed"):
        settings_of(FORMAT, {"zone": "UTC", "agents": '"PJSIP/agent1=Moreno, Alice'})


def test_an_agents_name_may_have_commas() -> None:
    """A piece without `=` goes on with the name before, unless it looks like a channel whose name was forgotten."""
    found = settings_of(FORMAT, {"zone": "UTC", "agents": "PJSIP/1=Moreno, Alice,PJSIP/2=Tan, Bob, Jr."})
    assert isinstance(found, AsteriskSettings)
    assert {"PJSIP/1": "Moreno, Alice", "PJSIP/2": "Tan, Bob, Jr."} == profile(found).agents
    with pytest.raises(BadSettings, match="'PJSIP/2' is not CHANNEL=NAME"):
        settings_of(FORMAT, {"zone": "UTC", "agents": "PJSIP/1=Alice,PJSIP/2"})
