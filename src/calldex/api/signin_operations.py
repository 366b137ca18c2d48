"""Operations on signing in: passwords, sessions, and the OpenID Connect provider of an account."""

from __future__ import annotations

import time

import msgspec

from calldex.api.operation import MAIN, Operation
from calldex.directory import Openid, OpenidClient, Session
from calldex.node import Node


class SetPassword(Operation[int], frozen=True, kw_only=True):
    """Give a user a password; their sessions end, and the reply is how many there were."""

    email: str
    password: str

    def run(self, node: Node) -> int:
        """Do it."""
        ended = node.directory.set_password(self.email, self.password)
        user = node.directory.user(self.email)
        node.audit.owner("password_changed", user.account_id, user.email)
        return ended


class ListSessions(Operation[list[Session]], frozen=True, kw_only=True):
    """The sessions of one user, or of all."""

    email: str | None = None

    def run(self, node: Node) -> list[Session]:
        """Do it."""
        return node.directory.list_sessions(time.time_ns() // 1_000_000, self.email)


class EndSession(Operation[Session], frozen=True, kw_only=True):
    """Sign somebody out."""

    id: int

    def run(self, node: Node) -> Session:
        """Do it."""
        session = node.directory.end_session(self.id)
        node.audit.owner(
            "session_ended", node.directory.user(session.email).account_id, session.email, session=session.id
        )
        return session


class SetOpenid(Operation[None], frozen=True, kw_only=True):
    """Set the provider by which an account's people sign in."""

    account: str = MAIN
    issuer: str
    client_id: str
    client_secret: str
    claim: str
    groups: dict[str, tuple[str, ...]]

    def run(self, node: Node) -> None:
        """Do it."""
        node.directory.set_openid(OpenidClient(**msgspec.structs.asdict(self)))
        _note(node, self.account, self.issuer)


class ShowOpenid(Operation[Openid], frozen=True, kw_only=True):
    """The provider of an account, without its secret."""

    account: str = MAIN

    def run(self, node: Node) -> Openid:
        """Do it."""
        return node.directory.openid(self.account)


class RemoveOpenid(Operation[None], frozen=True, kw_only=True):
    """Forget the provider of an account."""

    account: str = MAIN

    def run(self, node: Node) -> None:
        """Do it."""
        node.directory.remove_openid(self.account)
        _note(node, self.account, "none")


def _note(node: Node, account: str, issuer: str) -> None:
    node.audit.owner("account_changed", node.directory.account(account).id, account, openid=issuer)
