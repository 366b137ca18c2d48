"""What the directory keeps of others' secrets is sealed by a key that lies beside the database, and in no backup of it.

Today that is the secret by which Calldex shows an OpenID Connect provider who it is: unlike keys and passwords it has
to be told again, so no hash will do. Sealed as tokens are (`calldex.sealing`), bound to what it is of. The key is a
file of the data directory that is made when it is first needed; several nodes of one directory each need the same.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from calldex.errors import Unavailable
from calldex.sealing import KEY_BYTES, Sealing

SEALING_FILE: Final = "sealing.key"
SEALED: Final = "sealed:"
"""What sealed texts begin with; older ones were kept as they are."""
_CONTEXT: Final = "calldex directory 1"


class SealedSecrets:
    """Seals and opens texts with the key in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def seal(self, text: str, of: str) -> str:
        """A text as it is kept; `of` says what it belongs to."""
        sealed = Sealing(self._key(make=True), _CONTEXT, of).seal_bytes(text.encode())
        return SEALED + sealed + "=" * (-len(sealed) % 4)  # as it always was, for a node of the version before

    def open(self, kept: str, of: str) -> str:
        """The text; `Unavailable` if the key is gone or another."""
        try:
            sealing = Sealing(self._key(make=False), _CONTEXT, of)
        except (OSError, ValueError):
            found = None
        else:
            found = sealing.unseal_bytes(kept.removeprefix(SEALED).rstrip("="))
        if found is None:
            raise Unavailable(
                f"the secret of {of} was sealed with another key than that in {self._path}; bring that file back, or"
                " give the secret again"
            )
        return found.decode()

    def _key(self, *, make: bool) -> bytes:
        if make:
            try:
                file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                pass
            else:
                with os.fdopen(file, "w") as written:
                    written.write(secrets.token_hex(KEY_BYTES))
                    written.flush()
                    os.fsync(file)
        key = bytes.fromhex(self._path.read_text().strip())
        if len(key) != KEY_BYTES:
            raise ValueError
        return key
