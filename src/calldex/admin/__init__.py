"""The administration: users, teams, groups, keys, names and the account, each verb declared once (see `verb`).

Everything here is of the doer's own account; what is another's is not there for them. Knows no surface.
"""

from __future__ import annotations

from typing import Final

from calldex.admin import account, groups, keys, names, teams, users
from calldex.admin.verb import Verb

VERBS: Final[tuple[Verb, ...]] = (
    *users.VERBS,
    *teams.VERBS,
    *groups.VERBS,
    *keys.VERBS,
    *names.VERBS,
    *account.VERBS,
)
VERB: Final = {verb.id: verb for verb in VERBS}
"""By what programs call them."""
