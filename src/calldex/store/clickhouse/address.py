"""Where a ClickHouse is: the address that the setting `store` holds, read and checked. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from calldex.errors import BadSettings, Problem

FORM: Final = (
    "clickhouse://user:password@host1,host2:8123/database?secure=1, where an @ in the password is %40, a % is %25;"
    " or chdb:///path"
)
_MOST_HOSTS: Final = 64


class Dsn(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts with their ports, and how to get in; or the folder (`path`) of an engine in this process.

    `str()` is for people and holds no password.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    user: str = "default"
    password: str = ""
    database: str = "default"
    secure: bool = False
    ca_cert: str | None = None
    path: str = ""

    @property
    def host_names(self) -> list[str]:
        """What the hosts are called in messages."""
        return ["chdb"] if self.path else [f"{host}:{port}" for host, port in self.hosts]

    def url(self, number: int) -> str:
        """The base URL of a host, without user and password."""
        return f"{'https' if self.secure else 'http'}://{self.host_names[number]}"

    def __str__(self) -> str:
        if self.path:
            return f"chdb://{self.path}"
        return f"clickhouse://{self.user}@{','.join(self.host_names)}/{self.database}"

    __repr__ = __str__


def parse_dsn(text: str) -> Dsn:
    """The address that a text is; `BadSettings`, which never repeats it, if it is none."""
    try:
        parts = urlsplit(text)
        if parts.scheme == "chdb" and not parts.netloc and len(parts.path) > 1 and not parts.query:
            return Dsn(path=unquote(parts.path), database="calldex")
        if parts.scheme != "clickhouse":
            raise ValueError("begins with neither clickhouse:// nor chdb:///")
        return _clickhouse(parts)
    except ValueError as error:
        raise BadSettings([Problem("store", "", f"is not the address of a ClickHouse: {_safe(error)}", FORM)]) from None


def _safe(error: ValueError) -> str:
    """Python's own errors repeat what was given."""
    return str(error) if type(error) is ValueError and error.args and "'" not in str(error) else "it cannot be read"


def _clickhouse(parts: SplitResult) -> Dsn:
    login, _, places = parts.netloc.rpartition("@")
    if "@" in login:
        raise ValueError("an @ in user or password must be written %40")
    user, _, password = login.partition(":")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    secure = {"0": False, "1": True}.get(options.pop("secure", "0"))
    if secure is None:
        raise ValueError("`secure` is 0 or 1")
    ca_cert = options.pop("ca_cert", None)
    if options:
        raise ValueError("its options are `secure` and `ca_cert`")
    database = unquote(parts.path.strip("/"))
    if not database or "/" in database:
        raise ValueError("it names no database, or a path")
    return Dsn(
        hosts=_hosts(places, 8443 if secure else 8123),
        user=unquote(user) or "default",
        password=unquote(password),
        database=database,
        secure=secure,
        ca_cert=ca_cert,
    )


def _hosts(text: str, default: int) -> tuple[tuple[str, int], ...]:
    """`host1,host2:9000`: a port counts for the hosts before it that have none, as they are written in one go."""
    named: list[tuple[str, str]] = []
    for place in text.split(","):
        host, _, port = place.rpartition(":") if not place.endswith("]") and ":" in place else (place, "", "")
        if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
            raise ValueError("a host or a port is missing or wrong")
        named.append((host, port))
    if len(named) > _MOST_HOSTS:
        raise ValueError(f"it names more than {_MOST_HOSTS} hosts")
    found: list[tuple[str, int]] = []
    for host, port in reversed(named):
        default = int(port) if port else default
        found.append((host, default))
    return tuple(reversed(found))
