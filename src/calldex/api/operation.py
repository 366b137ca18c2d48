"""An operation: what the owner of a data directory may ask of its node, as a struct with what it does.

The command line makes them, `control` carries them out, in a server or in the command's own process. Nobody's rights
are looked at: whoever may use the data directory may do all of this. Knows no HTTP.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import msgspec

from calldex.node import Node

MAIN: Final = "main"

Reply = TypeVar("Reply")


class Operation(msgspec.Struct, Generic[Reply], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something to be done; `Reply` is what comes of it. Raises the errors of the layers that it asks."""

    def run(self, node: Node) -> Reply:
        """Do it."""
        raise NotImplementedError
