"""The copy that the guide for reports makes, by what Metabase, Superset and DBeaver ask of PostgreSQL."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import httpx2
import psycopg
import pytest

from tests.sync.conftest import Database, Rig, Source

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "reports.md"


@pytest.fixture
def copied(source: Source, database: Database, tmp_path: Path) -> Database:
    """A database after one run with the guide's file."""
    (text,) = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    rig = Rig(tmp_path, source.url, source.keys["admin"], {})
    rig.text = tomllib.loads(text.replace("https://calls.example.com", source.url))
    rig.environment |= {"WAREHOUSE_URL": database.url}
    rig.run()
    return database


@pytest.mark.slow
def test_programs_find_tables_and_types(copied: Database) -> None:
    """What they show of a schema: its tables, and which columns are times, numbers and JSON."""
    with psycopg.connect(copied.url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'calls'"
        ).fetchall()
        assert {"cdrs", "agents", "queues", "teams"} <= {name for (name,) in tables}
        types: dict[str, str] = dict(
            connection.execute(
                "SELECT column_name, data_type FROM information_schema.columns"
                " WHERE table_schema = 'calls' AND table_name = 'cdrs'"
            ).fetchall()
        )
    wanted = {"started_at": "timestamp with time zone", "talk_s": "bigint", "from": "text", "custom": "jsonb"}
    assert wanted == {name: types[name].replace("character varying", "text") for name in wanted}


@pytest.mark.slow
def test_programs_count_what_the_server_counts(copied: Database, source: Source) -> None:
    """By day in the report's zone, as Metabase asks: the session's zone, and `DATE_TRUNC`."""
    asked = {"bucket": "day", "measures": "calls,talk_s", "timezone": "Asia/Kolkata", "key": source.keys["admin"]}
    told = httpx2.get(f"{source.url}/api/v2/cdr/stats", params=asked).json()["groups"]
    with psycopg.connect(copied.url) as connection:
        connection.execute("SET SESSION TIMEZONE TO 'Asia/Kolkata'")
        counted = connection.execute(
            'SELECT to_char(DATE_TRUNC(\'day\', "calls"."cdrs"."started_at"), \'YYYY-MM-DD\') AS "d", COUNT(*),'
            ' COALESCE(SUM("calls"."cdrs"."talk_s"), 0)::bigint FROM "calls"."cdrs" GROUP BY "d" ORDER BY "d" ASC'
        ).fetchall()
        connection.execute("SELECT (custom #>> array['order_id'])::text, legs -> 0 ->> 'agent' FROM calls.cdrs")
        named = connection.execute(
            "SELECT count(*) FROM calls.cdrs c JOIN calls.queues q ON q.account = c.account AND q.id = c.queue_id"
        ).fetchone()
    assert counted == [(one["bucket"], one["calls"], one["talk_s"]) for one in told]
    assert named is not None
    assert named[0] > 0
