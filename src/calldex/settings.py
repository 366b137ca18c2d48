"""The settings of an installation: one struct, resolved once at start.

A setting is taken from the flags, else the environment (`CALLDEX_PORT`), else `calldex.toml` in the data directory,
else it has its default. A setting that is unknown or out of range is refused with where it stood, never skipped: a
service that runs on with a default nobody chose is worse than one that does not start.

To add a setting, add a field with a description; the file, the environment, `calldex settings` and the reference
follow. Secrets are no settings, they live in the directory database; but an address may hold a password, and has a type
of its own that does not show it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, inspect

from calldex.address import Address, DirectoryAddress, StoreAddress
from calldex.errors import BadSettings, Problem, UnreadableInput, suggest
from calldex.networks import Networks, Origins
from calldex.targets import VALID as VALID_TARGETS
from calldex.targets import Targets
from calldex.texts import is_whole

_T = TypeVar("_T")

Origin = Literal["default", "file", "environment", "flag"]
"""Where the value of a setting comes from."""

FILE_NAME: Final = "calldex.toml"
FILE_LIMIT: Final = 64 * 1024
PREFIX: Final = "CALLDEX_"
OF_CLIENTS: Final = ("CALLDEX_URL", "CALLDEX_KEY")
"""No settings: `calldex.client` reads them, and whoever has exported them for it also uses the commands."""
DEFAULT_DATA: Final = Path("data")


def _cores() -> int:
    return min(os.cpu_count() or 1, 256)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How one installation runs."""

    data: Annotated[Path, Meta(description="The data directory: what Calldex keeps on this machine.")] = DEFAULT_DATA
    store: Annotated[
        StoreAddress, Meta(description="Where records are kept: in the data directory, or at this address.")
    ] = StoreAddress("embedded")
    directory: Annotated[
        DirectoryAddress,
        Meta(description="Where users, rights and names are kept: in the data directory, or at this address."),
    ] = DirectoryAddress("")
    host: Annotated[str, Meta(min_length=1, max_length=255, description="The address or host name to listen on.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65535, description="The TCP port to listen on; 0 takes a free one.")] = 8080
    columns_memory_mb: Annotated[
        int, Meta(ge=64, le=1_048_576, description="The most memory the query engine takes, in MiB.")
    ] = 400
    index_memory_mb: Annotated[
        int,
        Meta(
            ge=0,
            le=1_048_576,
            description="The most memory for the index that answers searches by agent, queue, team or number, in MiB:"
            " 50 bytes a record, and 20 for each different number among a million. When the records need more, the"
            " query engine answers them, more slowly; 0: always.",
        ),
    ] = 1024
    threads: Annotated[
        int, Meta(ge=1, le=256, description="Threads of the query engine; by default one for each core.")
    ] = msgspec.field(default_factory=_cores)
    query_timeout_s: Annotated[
        int, Meta(ge=1, le=3600, description="Seconds after which a query is stopped with 503.")
    ] = 30
    max_queries: Annotated[int, Meta(ge=1, le=1000, description="Queries that run at the same time.")] = 8
    max_waiting: Annotated[
        int, Meta(ge=0, le=100_000, description="Queries that may wait for their turn; one more gets 503.")
    ] = 64
    token_days: Annotated[
        int, Meta(ge=2, le=365, description="Days for which a search token works, and replaced versions are kept.")
    ] = 7
    key_rate: Annotated[
        int, Meta(ge=0, le=1_000_000, description="Requests a second that a key may make in the long run; 0: any.")
    ] = 2000
    key_burst: Annotated[
        int, Meta(ge=1, le=10_000_000, description="Requests that a key may make at once after a pause.")
    ] = 20_000
    address_rate: Annotated[
        int, Meta(ge=0, le=1_000_000, description="Requests a second from one address in the long run; 0: any.")
    ] = 2000
    address_burst: Annotated[
        int, Meta(ge=1, le=10_000_000, description="Requests from one address at once after a pause.")
    ] = 20_000
    max_connections: Annotated[
        int, Meta(ge=1, le=100_000, description="Connections that may be open; one more gets 503.")
    ] = 1000
    address_connections: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Connections that may be open from one address, since nobody has said yet whose they are;"
            " one more gets 503.",
        ),
    ] = 200
    trusted_proxies: Annotated[
        Networks, Meta(description="Networks whose `Forwarded` and `X-Forwarded-*` headers are believed.")
    ] = Networks()
    metrics_networks: Annotated[
        Networks,
        Meta(description="Networks from which `/metrics` is answered; it tells how busy every account is."),
    ] = Networks("127.0.0.0/8,::1/128")
    cors_origins: Annotated[
        Origins,
        Meta(
            description="Origins whose pages may read the API by GET, with a key and never with a cookie, as"
            " `https://reports.example.com`; of none, no page of another site may."
        ),
    ] = Origins()
    tls_cert: Annotated[
        Path | None,
        Meta(description="PEM file of the certificate, and of those between it and the root; read again on SIGHUP."),
    ] = None
    tls_key: Annotated[Path | None, Meta(description="PEM file of the certificate's private key, unencrypted.")] = None
    export_days: Annotated[
        int, Meta(ge=1, le=365, description="Days for which an export that was made in the background is kept.")
    ] = 7
    export_targets: Annotated[
        Targets,
        Meta(
            description="Folders and buckets that schedules may export to, by name: `nightly=/srv/exports`,"
            " `lake=s3://bucket/prefix`; see docs/guides/exports.md."
        ),
    ] = Targets()
    audit_days: Annotated[
        int, Meta(ge=0, le=36_500, description="Days for which the audit's entries are kept; 0 keeps all of them.")
    ] = 400
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least severe log lines that are written.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "console", "json"],
        Meta(description="Log lines for people or for machines; `auto`: for people at a terminal, else JSON."),
    ] = "auto"
    shutdown_grace_s: Annotated[
        int, Meta(ge=0, le=600, description="Seconds that running requests get to finish at shutdown.")
    ] = 10


_FIELDS: Final = {field.name: field for field in msgspec.structs.fields(Settings)}
_IN_FILE: Final = [name for name in _FIELDS if name != "data"]


class _Given(msgspec.Struct, frozen=True):
    """One value as it was given: the setting, its value, and the place by the name its giver knows."""

    name: str
    value: object
    origin: Origin
    where: str


def resolve(
    data: Path | None, flags: Mapping[str, object], environ: Mapping[str, str]
) -> tuple[Settings, Mapping[str, Origin]]:
    """The settings, and for each of them where it comes from.

    `data` is the data directory if a flag names it, else `CALLDEX_DATA` does, else it is `data` under the current
    directory. `flags` are settings by name; one that is None was not given. Everything that is wrong is raised as one
    `BadSettings`.
    """
    problems: list[Problem] = []
    given = _from_environment(environ, problems) + _from_flags({"data": data, **flags}, problems)
    directory = next((Path(str(g.value)) for g in reversed(given) if g.name == "data"), DEFAULT_DATA)
    values: dict[str, object] = {}
    origins: dict[str, Origin] = dict.fromkeys(_FIELDS, "default")
    for one in _from_file(directory / FILE_NAME, problems) + given:
        try:
            # Text from the environment is read as the setting's type; a file and a flag have types of their own.
            value = _convert(one.value, _FIELDS[one.name].type, strict=one.origin != "environment")
            if isinstance(value, str) and not is_whole(value):
                raise msgspec.ValidationError("not UTF-8")
            values[one.name] = value
            origins[one.name] = one.origin
        except msgspec.ValidationError:
            shown = "" if _address(one.name) else str(one.value)[:100]  # there may be a password in it
            problems.append(Problem(one.where, shown, "not a value of this setting", _valid(one.name)))
    if problems:
        raise BadSettings(problems)
    return _convert(values, Settings), origins


def _convert(value: object, kind: type[_T], *, strict: bool = True) -> _T:
    return msgspec.convert(
        value,
        kind,
        strict=strict,
        dec_hook=lambda wanted, given: given if isinstance(given, wanted) else wanted(given),
    )


def _from_file(path: Path, problems: list[Problem]) -> list[_Given]:
    try:
        with path.open("rb") as file:
            text = file.read(FILE_LIMIT + 1)
        if len(text) > FILE_LIMIT:
            problems.append(Problem(str(path), "", f"the file is larger than {FILE_LIMIT // 1024} KiB"))
            return []
        table = tomllib.loads(text.decode())
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise UnreadableInput(
            f"{path.parent} is no folder, so it is no data directory; name another with --data"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(Problem(str(path), "", f"the file cannot be read: {error}", "a TOML file"))
        return []
    found = []
    for name, value in table.items():
        if name in _IN_FILE:
            found.append(_Given(name, value, "file", f"{path}: {name}"))
        else:
            problems.append(Problem(f"{path}: {name[:100]}", "", _unknown(name, _IN_FILE), ", ".join(_IN_FILE)))
    return found


def _from_environment(environ: Mapping[str, str], problems: list[Problem]) -> list[_Given]:
    by_variable = {PREFIX + name.upper(): name for name in _FIELDS}
    found = []
    for variable in sorted(v for v in environ if v.startswith(PREFIX) and v not in OF_CLIENTS):
        name = by_variable.get(variable)
        if name is None:
            problems.append(Problem(variable[:100], "", _unknown(variable, by_variable), ", ".join(by_variable)))
        elif not environ[variable]:
            problems.append(Problem(variable, "", "is set to nothing; unset it to get the default", _valid(name)))
        else:
            found.append(_Given(name, environ[variable], "environment", variable))
    return found


def _from_flags(flags: Mapping[str, object], problems: list[Problem]) -> list[_Given]:
    found = []
    for name, value in flags.items():
        where = "--" + name.replace("_", "-")
        if name not in _FIELDS:
            problems.append(Problem(where[:100], "", _unknown(name, _FIELDS), ", ".join(_FIELDS)))
        elif value is not None:
            found.append(_Given(name, value, "flag", where))
    return found


def _unknown(name: str, valid: Mapping[str, object] | list[str]) -> str:
    return f"there is no such setting{suggest(name, valid)}"


def _address(name: str) -> type[Address] | None:
    """The type of a setting that is an address."""
    match inspect.type_info(_FIELDS[name].type):
        case inspect.Metadata(type=inspect.CustomType(cls=kind)) if issubclass(kind, Address):
            return kind
    return None


def _valid(name: str) -> str:
    """What a setting may be, in words."""
    if (address := _address(name)) is not None:
        return address.valid()
    match inspect.type_info(_FIELDS[name].type):
        case inspect.Metadata(type=inspect.IntType(ge=least, le=most)):
            return f"a whole number from {least} to {most}"
        case inspect.Metadata(type=inspect.StrType(min_length=least, max_length=most)):
            return "text" if most is None else f"text of {least or 0} to {most} characters"
        case inspect.Metadata(type=inspect.LiteralType(values=words)):
            return ", ".join(map(str, words))
        case inspect.Metadata(type=inspect.CustomType(cls=kind)) if kind is Networks:
            return "networks, as 10.0.0.0/8 or ::1"
        case inspect.Metadata(type=inspect.CustomType(cls=kind)) if kind is Origins:
            return "origins, as https://reports.example.com, each named; * is none"
        case inspect.Metadata(type=inspect.CustomType(cls=kind)) if kind is Targets:
            return VALID_TARGETS
        case _:
            return "a path"
