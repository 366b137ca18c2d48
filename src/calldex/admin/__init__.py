"""The administration: each verb declared once (see `verb`), by subject.

What has a path is done over HTTP as well, and is of the doer's own account: what is another's is not there for them.
What has none is the owner's, who has all accounts. Knows no surface.
"""

from __future__ import annotations

from typing import Final

from calldex.admin import account, care, exports, groups, keys, names, quarantine, signin, sources, teams, users
from calldex.admin.verb import Verb

VERBS: Final[tuple[Verb, ...]] = (
    *users.VERBS,
    *teams.VERBS,
    *groups.VERBS,
    *keys.VERBS,
    *names.VERBS,
    *account.VERBS,
    *signin.VERBS,
    *sources.VERBS,
    *quarantine.VERBS,
    *care.VERBS,
    *exports.VERBS,
)
VERB: Final = {verb.id: verb for verb in VERBS}
"""By what programs call them."""
