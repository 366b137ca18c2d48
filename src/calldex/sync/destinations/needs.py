"""The libraries of the extra, imported when they are needed; without them it is said what to install."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from calldex.errors import UsageProblem

INSTALL = 'pip install "calldex[sync]"'


def needed(name: str) -> Any:
    """The module of this name; `UsageProblem` if it, or what it needs, is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UsageProblem(f"this destination needs {error.name}, which is not installed: {INSTALL}") from None
