"""Writes what the connectors know of a record, from the record itself: `python -m connectors.generate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from calldex.records.codec import Record

FOLDER: Final = Path(__file__).parent
MANIFEST: Final = FOLDER / "airbyte" / "manifest.yaml"
SINGER: Final = FOLDER / "singer" / "tap_calldex" / "schema.json"
_SCHEMA: Final = "      schema: {"


def members() -> dict[str, dict[str, Any]]:
    """The JSON schema of each member of a record: its type, and the form of instants. What lists or has members of its
    own is not told further."""
    found: dict[str, dict[str, Any]] = msgspec.json.schema(Record)["$defs"]["Record"]["properties"]
    return {name: _plain(found[name]) for name in ("uuid", *sorted(found.keys() - {"uuid"}))}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    kinds = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    types = sorted({"string" if "enum" in one else one.get("type", "object") for one in kinds})
    plain: dict[str, Any] = {"type": ["null", *types]}
    if any(one.get("format") == "date-time" for one in kinds):
        plain["format"] = "date-time"
    return plain


def manifest() -> str:
    """The manifest, with the schema of records as they are now."""
    cdc = {"_ab_cdc_lsn": "integer", "_ab_cdc_updated_at": "string", "_ab_cdc_deleted_at": "string", "at": "string"}
    properties = members() | {
        name: {"type": ["null", kind], **({"format": "date-time"} if kind == "string" else {})}
        for name, kind in cdc.items()
    }
    schema = json.dumps({"type": "object", "additionalProperties": True, "properties": properties})
    text = MANIFEST.read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith(_SCHEMA)]
    return text.replace(line, f"      schema: {schema}")


def singer() -> str:
    """The schema of the Singer tap's records."""
    more = {"_sdc_deleted_at": {"type": ["null", "string"], "format": "date-time"}, "seq": {"type": "integer"}}
    return json.dumps({"type": "object", "properties": members() | more}, indent=1) + "\n"


def written() -> dict[Path, str]:
    """What each file should hold."""
    return {MANIFEST: manifest(), SINGER: singer()}


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
