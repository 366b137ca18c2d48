"""A page of a search that the owner of a data directory asks for at the command line, over all of an account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import anyio.to_thread
import msgspec

from calldex.audit.chain import OWNER, Actor
from calldex.directory import Directory
from calldex.directory.refs import reference
from calldex.node import Node
from calldex.records.record import NamedKind
from calldex.search.reader import SEARCH, Caller, Reader
from calldex.texts import listed

_IDS_OF: Final[Mapping[str, NamedKind]] = {
    "agent_ids": "agent",
    "queue_ids": "queue",
    "team_ids": "team",
    "campaign_ids": "campaign",
}


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched for; `parameters` are those of the API."""

    account: str
    parameters: Sequence[tuple[str, str]]


class Found(msgspec.Struct, frozen=True):
    """A page of a search: the JSON array of its records, the size of the whole match, the token for the rest."""

    records: msgspec.Raw
    total: int
    search_token: str | None


async def page_of(node: Node, reader: Reader, asked: Search) -> Found:
    """The page."""
    owner = await anyio.to_thread.run_sync(node.owner, asked.account)
    caller = Caller(owner, Actor(actor=OWNER, account_id=owner.account_id))
    parameters = await anyio.to_thread.run_sync(with_ids, node.directory, owner.account_id, asked.parameters)
    async with reader.open(caller, SEARCH, parameters) as search:
        page = await search.run(lambda: search.page(search.place(search.own), search.own))
        search.count_served(page.count)
    return Found(msgspec.Raw(b"[" + page.json + b"]"), page.total, page.token)


def with_ids(directory: Directory, account_id: int, parameters: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The parameters, with ids in place of names where ids belong. What is no list is left to the search."""
    found = []
    for name, value in parameters:
        kind = _IDS_OF.get(name)
        try:
            refs = [reference(item) for item in listed(value)] if kind is not None else []
        except ValueError:
            refs = []
        if kind is not None and all(refs) and any(isinstance(ref, str) for ref in refs):
            found.append((name, ",".join(map(str, directory.meant(account_id, kind, name, refs)))))
        else:
            found.append((name, value))
    return found
