"""What opens a bucket, as `calldex exports credentials` and `calldex sources credentials` keep it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from calldex.cli import output
from calldex.cli.signin import secret_of

if TYPE_CHECKING:
    from calldex.admin.verb import Call
    from calldex.buckets import Credentials

access_key_id = click.option("--access-key-id", required=True, metavar="ID", help="The id of its access key.")


def keep(
    work: Callable[[Call, Credentials], Any],
    key_id: str,
    data: Path | None,
    *,
    subject: str,
    of: str,
    account: str | None = None,
) -> None:
    """Have a verb keep the access key of an id; its secret is asked for. `of`: what it opens, as it is told."""
    from calldex.buckets import Credentials
    from calldex.cli.client import connected

    given = Credentials(access_key_id=key_id, secret_access_key=secret_of("Secret access key"))
    with connected(data) as control:
        control.do(work, given, account=account, subject=subject)
    output.say(f"Stored the credentials of {of}.")
