"""The file that `calldex sync init` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

DESTINATIONS: Final = {
    "postgres": (
        ("url", "Variable of the environment that holds the address (postgresql://…)", "WAREHOUSE_URL"),
        ("schema", "Schema of the tables", "calls"),
    ),
    "duckdb": (("path", "File", "warehouse.duckdb"),),
    "files": (("path", "Folder, or s3://bucket/prefix", "calls"), ("format", "parquet or delta", "parquet")),
    "calldex": (
        ("url", "Variable of the environment that holds its address", "TARGET_URL"),
        ("key", "Variable of the environment that holds a key that may ingest", "TARGET_KEY"),
    ),
    "hubspot": (("token", "Variable of the environment that holds the private app's token", "HUBSPOT_TOKEN"),),
    "salesforce": (
        ("url", "Variable of the environment that holds the organization's address", "SALESFORCE_URL"),
        ("client_id", "Id of the connected app", ""),
        ("client_secret", "Variable of the environment that holds its secret", "SALESFORCE_SECRET"),
    ),
    "zendesk": (
        ("url", "Variable of the environment that holds the account's address", "ZENDESK_URL"),
        ("email", "E-mail of the agent whose token it is", ""),
        ("token", "Variable of the environment that holds the API token", "ZENDESK_TOKEN"),
        ("app_id", "Id of a Zendesk app", ""),
    ),
    "bitrix24": (
        ("url", "Variable of the environment that holds the account's address", "BITRIX24_URL"),
        ("client_id", "Id of the local application", ""),
        ("client_secret", "Variable of the environment that holds its secret", "BITRIX24_SECRET"),
        ("refresh_token", "Variable of the environment that holds its first refresh token", "BITRIX24_REFRESH_TOKEN"),
        ("agent", "Id of the user to whom calls belong", "1"),
    ),
    "push": (
        ("url", "Variable of the environment that holds the address", "HOOK_URL"),
        ("secret", "Variable of the environment that holds the secret (whsec_…)", "HOOK_SECRET"),
    ),
}
"""What is asked for each kind: the member, the question, and what is taken where nothing is answered."""
_FROM_THE_ENVIRONMENT: Final = frozenset(("url", "key", "token", "secret", "client_secret", "refresh_token"))

_TEXT: Final = """\
# What `calldex sync` keeps up to date. A text can be "env:NAME" (a variable of the environment) or "file:PATH";
# what is secret has to be one of both. `calldex sync check` tries every connection.

[source.main]
url = {url}
key = {key}
# kind = "calldex"        # or "v2", an endpoint that has the list alone; found out where left away
# account = "main"        # what copies call it; by default its name here
# look_back = 3           # v2: days that are read again each time, since records change after the call
# timezone = "UTC"        # v2: the zone in which days are cut, that of the key's owner
# requests_per_minute = 600

[destination.copy]
kind = {kind}
{options}

[pipe.calls]
from = "main"
to = "copy"
# every = "5m"            # with `run --every`; a feed is followed anyhow
# filters = {{ type = "inbound,outbound" }}
# fields = ["type", "from", "to", "agent"]   # all, if not given

# [watch]                 # one message when a pipe falls behind or is not equal, and one when it is well again
# webhook = "env:ALERT_URL"
# email = "ops@example.com"
# smtp = "smtp://localhost:25"
# lag = "1h"
"""


def written(url: str, key: str, kind: str, options: Mapping[str, str]) -> str:
    """The file, with what was answered."""
    lines = [
        f"{name} = {_text(f'env:{value}' if name in _FROM_THE_ENVIRONMENT else value)}"
        for name, value in options.items()
    ]
    return _TEXT.format(url=_text(url), key=_text(f"env:{key}"), kind=_text(kind), options="\n".join(lines))


def _text(value: str) -> str:
    """A text as TOML has it: as JSON does."""
    return json.dumps(value, ensure_ascii=False)
