"""The administration over HTTP: users, teams, groups, keys, names and the account, for who may manage them.

Everything here is of the caller's own account; what is another's is not there for him. Who may do what to whom stands
in `rights` alone, and is looked at within the transaction of the change. `ENDPOINTS` is the whole surface: its routes
and its part of the OpenAPI document are made from it.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from starlette.routing import Route

from calldex.api.admin import account, groups, keys, names, teams, users
from calldex.api.admin.endpoint import PREFIX, Endpoint, answered
from calldex.errors import CalldexError, TooMany
from calldex.node import Node
from calldex.transport.workers import Workers

AT_ONCE: Final = 2
WAITING: Final = 64
ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *users.ENDPOINTS,
    *teams.ENDPOINTS,
    *groups.ENDPOINTS,
    *keys.ENDPOINTS,
    *names.ENDPOINTS,
    *account.ENDPOINTS,
)


def routes(node: Node) -> list[Route]:
    """The routes over a node: one for each address, with all that it answers."""
    # Of its own, so that a key can be revoked however busy those are who search and write.
    workers = Workers("admin", AT_ONCE, WAITING, _too_many)
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return [
        # A wrap-up code may have any characters, slashes among them.
        Route(
            PREFIX + path.replace("{code}", "{code:path}"),
            partial(answered, node, workers, endpoints),
            methods=list(endpoints),
        )
        for path, endpoints in by_path.items()
    ]


def _too_many() -> CalldexError:
    return TooMany("too many requests that administer are running and waiting; try again shortly", retry_after=1)
