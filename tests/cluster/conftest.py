"""Tests of nodes that share databases; some run commands in this process."""

from tests.cli.conftest import left_as_it_was

__all__ = ["left_as_it_was"]
