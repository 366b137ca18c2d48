"""Which way a call went, and between whom: what the source's settings say of its channels, contexts and numbers.

Times and billing do not tell the direction, and neither does Asterisk.
"""

from __future__ import annotations

from typing import Final

from calldex.formats.asterisk.call import Call
from calldex.formats.asterisk.rows import CdrPath, dial_targets, is_local, number
from calldex.records.record import InteractionType

_ORIGINATED: Final = ("dialer", "click_to_call")
"""Kinds of calls that the PBX begins itself."""


def kind_of(call: Call) -> InteractionType:
    """The direction: what marks a dialer or a click-to-call, else where the call goes."""
    if any(map(call.profile.dialer.match, call.marks)):
        return "dialer"
    if any(map(call.profile.click_to_call.match, call.marks)):
        return "click_to_call"
    if not call.paths:
        if any(event.row.event == "OUTCALL" for event in call.queue_events):
            return "outbound"
        return "internal" if call.profile.is_extension(call.number_from) else "inbound"
    return _by_trunk(call) or _by_context(call) or _by_numbers(call)


def _by_trunk(call: Call) -> InteractionType | None:
    if call.profile.is_trunk(call.own_paths[0].row.channel):
        return "inbound"
    called = {path.row.dstchannel for path in call.paths}
    called |= {channel for path in call.paths for channel, _ in dial_targets(path.row)}
    return "outbound" if any(map(call.profile.is_trunk, called)) else None


def _by_context(call: Call) -> InteractionType | None:
    context = call.own_paths[0].row.dcontext
    if call.profile.inbound_contexts.match(context):
        return "inbound"
    return "outbound" if call.profile.outbound_contexts.match(context) else None


def _by_numbers(call: Call) -> InteractionType:
    """The direction without a sign of the outside: by who is an extension, and a queue is called from outside.

    Where trunks are known and none was used, it is internal, but for an extension's attempt to call a number outside
    that failed before a channel was chosen for it.
    """
    known, dialled = call.profile, call.number_dialled
    in_queue = bool(call.visits or call.queue_paths)
    if known.is_extension(call.number_from):
        inside = dialled is None or known.is_extension(dialled) or not dialled.isdigit() or in_queue
        return "internal" if inside or (known.has_trunks and call.went_somewhere) else "outbound"
    if known.has_trunks:
        return "internal"
    return "inbound" if known.is_extension(dialled) or in_queue else "internal"


def is_originated(call: Call, kind: InteractionType) -> bool:
    """Whether the PBX began the call, so that whoever it called first is not yet who is to be reached: by its marks, or
    because its first channel is a Local one that led to a telephone of the house, and went on to call another."""
    if kind in _ORIGINATED:
        return True
    first = call.first_device
    if kind == "inbound" or not first or call.profile.is_trunk(first) or not is_local(call.own_paths[0].row.channel):
        return False
    rows = [path.row for path in call.own_paths]
    return all(row.dstchannel != first for row in rows) and any(row.dstchannel or dial_targets(row) for row in rows)


def talks_of(call: Call, kind: InteractionType) -> list[CdrPath]:
    """The rows in which the call reached a person, in order of the answer.

    Of a call that the PBX began, the leg to whoever it called first reached nobody yet.
    """
    if not is_originated(call, kind) or not is_local(call.own_paths[0].row.channel):
        return call.conversations
    return [path for path in call.conversations if path.row.dstchannel != call.first_device]


def called_number(call: Call, kind: InteractionType) -> str | None:
    """The number called, without what is dialled for an outside line."""
    if kind == "inbound":
        return call.did or call.number_dialled
    dialled = (call.number_outside if is_originated(call, kind) else None) or call.number_dialled
    if dialled is None:
        targets = [number(target) for path in call.own_paths for _, target in dial_targets(path.row)]
        return next(filter(None, targets), None)
    prefix = call.profile.outbound_prefix
    return dialled.removeprefix(prefix) or dialled if kind != "internal" else dialled
