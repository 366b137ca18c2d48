"""What tests of the transport serve is what those of the API serve."""

from tests.api.conftest import elsewhere, empty, hired, runner, shared, site

__all__ = ("elsewhere", "empty", "hired", "runner", "shared", "site")
