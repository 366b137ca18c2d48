"""The OpenAPI document is true for the administration as well."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance
from schemathesis.specs.openapi.schemas import OpenApiSchema

from calldex.admin import VERB, VERBS, missed, views
from calldex.admin.verb import Verb
from calldex.api.administration import ENDPOINTS, PREFIX
from tests.api.admin.conftest import Office
from tests.api.conftest import from_an_address
from tests.api.test_openapi import blank

SERVED = [verb for verb in VERBS if verb.path]


@pytest.fixture(scope="module")
def described(standing: Office) -> OpenApiSchema:
    """The document, as the app serves it."""
    return schemathesis.openapi.from_asgi("/openapi.json", from_an_address(standing.site.api.app))


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("endpoint", SERVED, ids=lambda endpoint: endpoint.id)
def test_the_server_is_as_it_is_described(
    standing: Office, described: OpenApiSchema, endpoint: Verb, mode: GenerationMode
) -> None:
    """Whatever an admin sends, the status is one that is declared, the body fits its schema, and what breaks a schema
    is refused."""
    operation = described[PREFIX + endpoint.path][endpoint.method]
    headers = {"Authorization": f"Bearer {standing.keys['boss']}"}

    @settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def holds(case: Case[Any]) -> None:
        assume(not blank(case))
        # Well-formed names may still be nobody's.
        case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance, ignored_auth])

    if mode.is_positive or operation.query or operation.path_parameters or operation.body:
        holds()
    assert 200 == standing.ask("GET", "/account").status_code, "the admin was removed, or has to wait"


@pytest.mark.parametrize("endpoint", SERVED, ids=lambda endpoint: endpoint.id)
def test_every_operation_is_told(standing: Office, endpoint: Verb) -> None:
    """What each does and which permission it needs stands in the document and on the page."""
    document = standing.site.api.get("/openapi.json").json()
    told = document["paths"][PREFIX + endpoint.path][endpoint.method.lower()]
    assert told["summary"]
    assert all(f"`{needed}`" in told["description"] for needed in endpoint.needs)
    assert f'id="{endpoint.id}"' in standing.site.api.get("/docs/plain").text


def test_every_verb_has_a_name_of_its_own() -> None:
    """HTTP, the owner's socket and the commands call verbs by their names, so no two share one."""
    assert len(VERBS) == len(VERB)
    assert {each.id for each in ENDPOINTS if each.path.startswith(PREFIX)} == {verb.id for verb in VERBS if verb.path}
    others = [*missed.VERBS, *views.VERBS]
    assert {verb.id for verb in others} == {each.id for each in ENDPOINTS if not each.path.startswith(PREFIX)}
    assert VERB.keys().isdisjoint(verb.id for verb in others)
