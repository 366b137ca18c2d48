"""The sources of records, with the settings their formats read them by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from calldex.clock import now_ms
from calldex.directory.buckets import drop_bucket_secret
from calldex.directory.database import Repository
from calldex.directory.model import Source, handle_problem, text_problem
from calldex.directory.principals import find_account
from calldex.directory.tables import accounts, sources
from calldex.errors import BadParameters, Conflict, NotFound, Problem, suggest

MOST_SETTINGS: Final = 100
LONGEST_SETTING: Final = 4000


class Sources(Repository):
    """Named sources; their names are unique over all accounts."""

    def add_source(
        self,
        name: str,
        format: str,  # noqa: A002 - the trade's word
        settings: Mapping[str, str],
        account: str = "main",
    ) -> Source:
        """Add a source; the caller has seen to it that the format knows the settings."""
        problems = [
            *handle_problem("name", name),
            *handle_problem("format", format),
            *_settings_problems(settings),
        ]
        if problems:
            raise BadParameters(problems)
        with self._db.write() as connection:
            account_id = find_account(connection, account).id
            if any(source.name == name for source in _sources(connection)):
                raise Conflict(f"there is already a source {name!r}")
            values = {"name": name, "format": format, "settings": dict(settings), "created_at": now_ms()}
            connection.execute(insert(sources).values(account_id=account_id, **values))
            return _source(connection, name)

    def set_source(self, name: str, settings: Mapping[str, str]) -> Source:
        """Give a source other settings; the caller has seen to it that the format knows them."""
        if problems := _settings_problems(settings):
            raise BadParameters(problems)
        with self._db.write() as connection:
            id_ = _source(connection, name).id
            connection.execute(update(sources).where(sources.c.id == id_).values(settings=dict(settings)))
            return _source(connection, name)

    def sources(self) -> list[Source]:
        """Every source, by name."""
        with self._db.read() as connection:
            return _sources(connection)

    def source(self, name: str) -> Source:
        """The source of that name; `NotFound` names those that exist."""
        with self._db.read() as connection:
            return _source(connection, name)

    def note_ingests(self, found: Mapping[str, tuple[int, int | None]], account_id: int | None = None) -> None:
        """Keep of sources, by name, when they last delivered and when the newest of their calls began; what is later
        already stays, as several nodes tell it. Of sources of this account alone, if one is given: what a client calls
        a source may be another's."""
        columns = (sources.c.last_ingest_at, sources.c.newest_started_at)
        with self._db.write() as connection:
            for name, values in found.items():
                for column, value in zip(columns, values, strict=True):
                    if value is not None:
                        later = (sources.c.name == name) & (column.is_(None) | (column < value))
                        if account_id is not None:
                            later &= sources.c.account_id == account_id
                        connection.execute(update(sources).where(later).values({column: value}))

    def remove_source(self, name: str) -> None:
        """Forget a source, and what opens the bucket of its recordings. The records that came from it stay, and still
        name it."""
        with self._db.write() as connection:
            connection.execute(delete(sources).where(sources.c.id == _source(connection, name).id))
            drop_bucket_secret(connection, "recordings", name)


def _settings_problems(settings: Mapping[str, str]) -> list[Problem]:
    problems: list[Problem] = []
    for key, value in settings.items():
        problems += [
            *text_problem("settings", key, 64),
            *text_problem(f"settings.{key[:64]}", value, LONGEST_SETTING),
        ]
    if len(settings) > MOST_SETTINGS:
        problems.append(Problem("settings", str(len(settings)), "are too many", f"up to {MOST_SETTINGS}"))
    return problems


def _sources(connection: Connection) -> list[Source]:
    query = select(sources, accounts.c.name.label("account")).join(accounts)
    found = (Source(**row._asdict()) for row in connection.execute(query))
    return sorted(found, key=lambda source: source.name)


def _source(connection: Connection, name: str) -> Source:
    known = {source.name: source for source in _sources(connection)}
    if name not in known:
        listed = f"Sources: {', '.join(known)}" if known else "There are no sources yet."
        raise NotFound(f"there is no source {name[:100]!r}{suggest(name, known) or '.'} {listed}")
    return known[name]
