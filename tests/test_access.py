"""Who may see what, and who may write."""

from __future__ import annotations

from typing import get_args

import pytest

from calldex.access import KeyScope, Principal, Role, Scope, may_ingest, scope_of


def principal(role: Role = "admin", key_scope: KeyScope = "read", account_id: int = 7) -> Principal:
    """Somebody."""
    return Principal(
        account_id=account_id,
        user_id=1,
        email="a@example.com",
        role=role,
        key_prefix="cdx_1",
        key_scope=key_scope,
        timezone="UTC",
    )


SEES: list[tuple[Role, KeyScope]] = [("admin", "read"), ("analyst", "read")]
WRITES: list[tuple[Role, KeyScope]] = [("admin", "ingest")]


@pytest.mark.parametrize("key_scope", get_args(KeyScope))
@pytest.mark.parametrize("role", get_args(Role))
def test_every_role_with_every_key(role: Role, key_scope: KeyScope) -> None:
    """Only the roles and keys named here see or write; whoever is new sees nothing, and nobody does both by one key."""
    somebody = principal(role, key_scope)
    assert ((role, key_scope) in SEES) is scope_of(somebody).whole
    assert ((role, key_scope) in WRITES) is may_ingest(somebody)


def test_a_scope_is_of_the_principals_account() -> None:
    """The account is that of the key's owner."""
    assert [7, 8] == [scope_of(principal(account_id=each)).account_id for each in (7, 8)]


def test_fingerprints() -> None:
    """Scopes that grant different rows have different fingerprints, the same one the same; 16 bytes."""
    scopes = [Scope(account_id=account_id, whole=whole) for account_id in (1, 2, 256) for whole in (True, False)]
    prints = [scope.fingerprint() for scope in scopes]
    assert len(scopes) == len(set(prints))
    assert {16} == set(map(len, prints))
    assert prints == [Scope(account_id=s.account_id, whole=s.whole).fingerprint() for s in scopes]


def test_nothing_is_granted_by_leaving_it_out() -> None:
    """A scope says itself what it grants: neither part has a default."""
    with pytest.raises(TypeError):
        Scope(account_id=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Scope(whole=True)  # type: ignore[call-arg]
