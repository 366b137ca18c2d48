"""Every error Calldex tells its users about, with its stable code, HTTP status and exit code.

Any layer raises them; only the edges (`api`, `cli`) turn them into a reply or an exit. A message says what was wrong,
what was given and what is valid, and never holds a token or a whole number of a caller; keys that
were given are hidden in it (`texts.without_keys`).

```
CalldexError                    internal              500  exit 1
|- BadRequest                   bad_request           400       2
|  |- BadParameters             bad_parameters        400       2
|  |- BadToken                  bad_token             400       2
|  `- NotHttp                   not_http              400       2
|- Unauthorized                 unauthorized          401       1
|- Forbidden                    forbidden             403       1
|- NotFound                     not_found             404       1
|- MethodNotAllowed             method_not_allowed    405       1
|- TooSlow                      too_slow              408       3
|- Conflict                     conflict              409       1
|  |- ScopeChanged              scope_changed         409       1
|  `- IdempotencyMismatch       idempotency_mismatch  409       1
|- Gone                         gone                  410       1
|  |- TokenExpired              token_expired         410       1
|  `- CursorExpired             cursor_expired        410       1
|- TooLarge                     too_large             413       1
|- UriTooLong                   uri_too_long          414       1
|- UnsupportedMedia             unsupported_media     415       1
|- OtherNode                    other_node            421       1
|- TooMany                      too_many              429       3
|  `- RateExceeded              rate_exceeded         429       3
|- HeadTooLarge                 head_too_large        431       1
|- Unavailable                  unavailable           503       3
|  |- StoreNotReady             store_not_ready       503       3
|  |- QueryTimeout              query_timeout         503       3
|  |- TooManyConnections        too_many_connections  503       3
|  `- DiskFull                  disk_full             503       4
|- RecordDamaged                record_damaged        500       1
`- UsageProblem                 usage                 400       2
   |- BadSettings               bad_settings          400       2
   |- UnreadableInput           unreadable_input      400       5
   |  `- StoreDamaged           store_damaged         500       5
   |- DataDirInUse              data_dir_in_use       409       6
   |- WrongVersion              wrong_version         409       7
   `- PortTaken                 port_taken            409       8
```

Exit 2 says that what was asked has to change, 3 that the same may work later.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from typing import ClassVar, Final

import msgspec

from calldex.texts import without_keys


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong in what was given.

    `parameter` is the name its giver knows it by (a parameter, a field, `CALLDEX_PORT`), `given` what it was (cut by
    the caller, and empty where it is a secret), `message` what is wrong with it, `valid` what would have been right.
    """

    parameter: str
    given: str
    message: str
    valid: str = ""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            msgspec.structs.force_setattr(self, name, without_keys(getattr(self, name)))

    def __str__(self) -> str:
        """The problem in one line."""
        given = f" {self.given!r}" if self.given else ""
        end = "" if self.message.endswith("?") else "."
        valid = f"{end} Valid: {self.valid}" if self.valid else ""
        return f"{self.parameter}{given}: {self.message}{valid}"


class CalldexError(Exception):
    """Something went wrong that has a name; itself it is a fault of Calldex's own.

    `problems` lists every wrong part where there can be several; `retry_after` is in seconds.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, problems: Iterable[Problem] = (), retry_after: int | None = None) -> None:
        self.message = without_keys(message)
        super().__init__(self.message)
        self.problems = tuple(problems)
        self.retry_after = retry_after


class BadRequest(CalldexError):
    """The request cannot be understood."""

    code = "bad_request"
    status = 400
    exit_code = 2


class BadParameters(BadRequest):
    """Parameters that are unknown, repeated or do not parse: one `Problem` each. Of more than `MOST_PROBLEMS` the rest
    is not looked for, and the last one says that there are more."""

    code = "bad_parameters"

    def __init__(self, problems: Iterable[Problem]) -> None:
        listed = tuple(islice(problems, MOST_PROBLEMS + 1))
        if len(listed) > MOST_PROBLEMS:
            more = Problem(listed[-1].parameter, "", f"there are more problems than these {MOST_PROBLEMS}")
            listed = (*listed[:MOST_PROBLEMS], more)
        super().__init__("\n".join(map(str, listed)), problems=listed)


class BadToken(BadRequest):
    """A search token that is no token of ours, was changed, or belongs to another search."""

    code = "bad_token"


class NotHttp(BadRequest):
    """What was sent is no HTTP request, or names no host, or several."""

    code = "not_http"


class Unauthorized(CalldexError):
    """No key, or none that is valid; which of both is not told."""

    code = "unauthorized"
    status = 401

    def __init__(self, message: str = "Invalid User API Key") -> None:
        super().__init__(message)


class Forbidden(CalldexError):
    """The key is valid and does not permit this."""

    code = "forbidden"
    status = 403


class NotFound(CalldexError):
    """Not found, or not accessible to who asks."""

    code = "not_found"
    status = 404


class MethodNotAllowed(CalldexError):
    """There is something at this address, but it does not answer this method."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(allowed)
        super().__init__(f"this address answers {self.allowed}")


class TooSlow(CalldexError):
    """A body that did not arrive in time."""

    code = "too_slow"
    status = 408
    exit_code = 3


class Conflict(CalldexError):
    """What was asked contradicts what is there."""

    code = "conflict"
    status = 409


class ScopeChanged(Conflict):
    """The caller's rights have changed since the search began."""

    code = "scope_changed"


class IdempotencyMismatch(Conflict):
    """An `Idempotency-Key` that came before with another body."""

    code = "idempotency_mismatch"


class Gone(CalldexError):
    """What was asked for existed and no longer does."""

    code = "gone"
    status = 410


class TokenExpired(Gone):
    """A search token older than tokens live; the search has to start again."""

    code = "token_expired"


class CursorExpired(Gone):
    """A cursor of the change feed that needs versions which are not kept any more, or a store that was restored."""

    code = "cursor_expired"

    def __init__(self, message: str, *, earliest_cursor: str | None = None) -> None:
        super().__init__(message)
        self.earliest_cursor = earliest_cursor


class TooLarge(CalldexError):
    """A body, batch or line beyond its limit."""

    code = "too_large"
    status = 413


class UriTooLong(CalldexError):
    """The first line of a request is longer than its head may be."""

    code = "uri_too_long"
    status = 414


class UnsupportedMedia(CalldexError):
    """A content type or encoding that is not read."""

    code = "unsupported_media"
    status = 415


class OtherNode(CalldexError):
    """Another node has what was asked for; the message names it."""

    code = "other_node"
    status = 421


class TooMany(CalldexError):
    """Rate or concurrency limit reached; try again later."""

    code = "too_many"
    status = 429
    exit_code = 3


class RateExceeded(TooMany):
    """A key, or an address, sends requests faster than it may."""

    code = "rate_exceeded"


class HeadTooLarge(CalldexError):
    """The first line and the headers of a request are larger than they may be."""

    code = "head_too_large"
    status = 431


class Unavailable(CalldexError):
    """Calldex cannot do this now, and may later."""

    code = "unavailable"
    status = 503
    exit_code = 3


class StoreNotReady(Unavailable):
    """The columns are still being brought up to date."""

    code = "store_not_ready"


class QueryTimeout(Unavailable):
    """A query took longer than it may and was stopped."""

    code = "query_timeout"


class TooManyConnections(Unavailable):
    """Connection limit reached, in all or for this address."""

    code = "too_many_connections"


class DiskFull(Unavailable):
    """There is no room left to write; nothing of what was being written is kept."""

    code = "disk_full"
    exit_code = 4


class UsageProblem(CalldexError):
    """A command, or a start, that cannot work as it was given."""

    code = "usage"
    status = 400
    exit_code = 2


class BadSettings(UsageProblem):
    """Settings that are unknown or out of range, with where each came from."""

    code = "bad_settings"

    def __init__(self, problems: Iterable[Problem]) -> None:
        listed = tuple(problems)
        super().__init__("\n".join(map(str, listed)), problems=listed)


class UnreadableInput(UsageProblem):
    """A file that is missing, not permitted, or not what it should be."""

    code = "unreadable_input"
    exit_code = 5


class RecordDamaged(CalldexError):
    """A record is not what was written, by its checksum; the others are served."""

    code = "record_damaged"
    status = 500


class StoreDamaged(UnreadableInput):
    """A file of the store is not what was written; nothing but a backup helps."""

    code = "store_damaged"
    status = 500


class DataDirInUse(UsageProblem):
    """Another process owns the data directory."""

    code = "data_dir_in_use"
    status = 409
    exit_code = 6


class WrongVersion(UsageProblem):
    """The data directory was written by a newer Calldex than this one."""

    code = "wrong_version"
    status = 409
    exit_code = 7


class PortTaken(UsageProblem):
    """Another program listens on the port."""

    code = "port_taken"
    status = 409
    exit_code = 8


MOST_PROBLEMS: Final = 100
"""How many of the things that are wrong with a list or a file are told; what comes behind them is not looked at."""
_COMPARED: Final = 100


def suggest(given: str, valid: Iterable[str]) -> str:
    """`, did you mean 'agent_ids'?` to put behind a message, for the valid name nearest to the given one; else nothing.

    Letter case does not count; of the given only the first 100 characters do. Of many names only those are looked at
    that begin like it: to look at thousands would take a third of a second.
    """
    wanted = given[:100].casefold()
    by_folded = {name.casefold(): name for name in valid}
    names = list(by_folded)
    if len(names) > _COMPARED:
        names.sort()
        place = bisect(names, wanted)
        names = names[max(0, place - _COMPARED // 2) : place + _COMPARED // 2]
    nearest = get_close_matches(wanted, names, n=1)
    return f", did you mean {by_folded[nearest[0]]!r}?" if nearest else ""
