"""`/docs/plain`: the OpenAPI document as one page for people. (`/docs`, of the page, can also send requests.)

Made once, at start, without any script; fetches nothing from anywhere, and is not allowed to.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from importlib.resources import files
from typing import Any, Final

from calldex.api.endpoint import Json

OPENAPI_PATH: Final = "/openapi.json"
PAGE_PATH: Final = "/docs/plain"
_STYLE: Final = """
:root { color-scheme: light dark; --edge: light-dark(#e3e4e2, #2a2f36); --soft: light-dark(#f8f8f6, #1a1e23);
  --ink: light-dark(#1c1f23, #e4e7ea); --quiet: light-dark(#5c636b, #9aa3ad); --accent: light-dark(#1d56bd, #84b4ff); }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; font: 16px/1.55 system-ui, sans-serif; color: var(--ink);
  background: light-dark(#fff, #15181c); }
h1 { margin: 0; } h2 { margin: 3rem 0 0; border-bottom: 1px solid var(--edge); } h3 { margin: 2rem 0 .3rem; }
a { color: var(--accent); } nav ul { columns: 2; padding-left: 1.2rem; }
code, pre { font: .88em/1.5 ui-monospace, monospace; } code { overflow-wrap: anywhere; }
pre { background: var(--soft); border: 1px solid var(--edge); border-radius: 6px; padding: .8rem 1rem; overflow: auto; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; } caption { text-align: left; font-weight: 600; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-top: 1px solid var(--edge); }
th:first-child, td:first-child { white-space: nowrap; } .type { color: var(--quiet); font-size: .88em; }
.method { font-weight: 700; color: var(--accent); } @media (max-width: 40rem) { nav ul { columns: 1; } }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'"
"""The `Content-Security-Policy` of the page."""

_SHOWN_WORDS: Final = 40
_FILES: Final = {"application/x-ndjson": "january.jsonl", "text/csv": "list.csv", "application/json": "body.json"}
"""The file that stands for a body in an example: of the types that an operation takes, the first of these."""
_CODE: Final = re.compile(r"`([^`]+)`")
_START: Final = """# The address at which this page is served, and a user API key.
export CALLDEX=http://127.0.0.1:8080 KEY=…
curl -G "$CALLDEX/api/v2/cdr" -H "Authorization: Bearer $KEY" -d per_page=10"""
LOOPS: Final[Mapping[str, Mapping[str, str]]] = {
    loop: {kind: files("calldex.api.loops").joinpath(f"{loop}.{kind}").read_text() for kind in ("sh", "py", "mjs")}
    for loop in ("walk", "feed", "export", "stats", "lookups", "checksums")
}
"""Programs that get everything, by what they do: for a shell, for Python, and for Node. Each stops on an error, and its
file gets its name when it is whole. `tests/test_loops.py` runs them."""
_LOOP_OF: Final = {
    "search_cdr": "walk",
    "read_changes": "feed",
    "export_cdr": "export",
    "read_stats": "stats",
    "look_up_agents": "lookups",
    "read_checksums": "checksums",
}
_LANGUAGES: Final = {
    "sh": "In a shell, with the address as URL",
    "py": "In Python, by CALLDEX_URL and CALLDEX_KEY",
    "mjs": "In JavaScript, for Node",
}


def page(document: Json) -> bytes:
    """The page of a document."""
    return "".join(_page(document)).encode()


def _page(document: Json) -> Iterator[str]:
    info = document["info"]
    yield '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    yield f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style>"
    yield f"<h1>{escape(info['title'])} API</h1><p>{escape(info['summary'])} Version {escape(info['version'])};"
    yield ' the same for programs: <a href="/openapi.json">openapi.json</a>.</p>'
    yield f"<pre>{escape(_START)}</pre><p>The key may also be sent as the parameter <code>key</code>.</p>"
    operations = [
        (path, method, operation) for path, item in document["paths"].items() for method, operation in item.items()
    ]
    yield "<nav><ul>"
    for path, method, operation in operations:
        yield f'<li><a href="#{operation["operationId"]}"><code>{method.upper()} {escape(path)}</code></a>'
    yield '<li><a href="#schemas">What is sent</a></ul></nav>'
    tag = ""
    for path, method, operation in operations:
        if operation["tags"][0] != tag:
            tag = operation["tags"][0]
            yield f"<h2>{escape(tag)}</h2>"
        yield from _operation(path, method, operation)
    yield '<h2 id="schemas">What is sent</h2>'
    for name, schema in document["components"]["schemas"].items():
        yield from _schema(name, schema)
    yield "</html>"


def _operation(path: str, method: str, operation: Json) -> Iterator[str]:
    yield f'<h3 id="{operation["operationId"]}">{escape(operation["summary"])}</h3>'
    yield f'<p><span class="method">{method.upper()}</span> <code>{escape(path)}</code></p>'
    yield _prose(operation["description"])
    yield f"<pre>{escape(_curl(path, method, operation))}</pre>"
    for kind, text in LOOPS.get(_LOOP_OF.get(operation["operationId"], ""), {}).items():
        yield f"<p>{_LANGUAGES[kind]}:</p><pre>{escape(text)}</pre>"
    if "parameters" in operation:
        yield from _table(
            "Parameters",
            ((p["name"], _type(p["schema"]), _prose(p["description"])) for p in operation["parameters"]),
        )
    yield from _table(
        "Replies",
        (
            (
                status,
                " ".join(_type(c["schema"]) for c in reply.get("content", {}).values()),
                _prose(reply["description"]),
            )
            for status, reply in operation["responses"].items()
        ),
    )


def _curl(path: str, method: str, operation: Json) -> str:
    key = ' -H "Authorization: Bearer $KEY"' if "security" in operation else ""
    if method != "get":
        types = operation.get("requestBody", {}).get("content", {})
        sent = next((kind for kind in _FILES if kind in types), None)
        body = f' \\\n  -H "Content-Type: {sent}" --data-binary @{_FILES[sent]}' if sent else ""
        return f'curl -X {method.upper()} "$CALLDEX{path}"{key}{body}'
    examples = {p["name"]: p["example"] for p in operation.get("parameters", ()) if "example" in p}
    shown = [
        f" -d {shlex.quote(f'{name}={_plain(examples[name])}')}"
        for name in ("start_date", "type", "disposition", "min_duration", "per_page")
        if name in examples
    ]
    return f'curl -G "$CALLDEX{path}"{key}{"".join(shown)}'


def _plain(example: Any) -> str:
    return ",".join(map(str, example)) if isinstance(example, list) else str(example)


def _schema(name: str, schema: Json) -> Iterator[str]:
    yield f'<h3 id="{escape(name)}">{escape(name)}</h3>{_prose(schema.get("description", ""))}'
    rows = (
        (member, _type(inner), _prose(inner.get("description", "")))
        for member, inner in schema.get("properties", {}).items()
    )
    yield from _table("Members", rows)


def _table(caption: str, rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    yield f"<table><caption>{caption}</caption>"
    for name, kind, text in rows:
        yield f'<tr><td><code>{escape(name)}</code><td><span class="type">{kind}</span>{text}'
    yield "</table>"


def _type(schema: Json) -> str:
    """A schema in a few words, as HTML."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{escape(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(filter(None, map(_type, schema["anyOf"])))
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(word))}</code>" for word in schema["enum"][:_SHOWN_WORDS])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    words = [schema.get("format") or schema.get("type", "")]
    for keyword, text in (("minimum", "from"), ("maximum", "to"), ("maxLength", "up to"), ("default", "default")):
        if schema.get(keyword) not in (None, {}, ""):
            words.append(f"{text} {schema[keyword]}{' characters' if keyword == 'maxLength' else ''}")
    return escape(" ".join(filter(None, words)))


def _prose(text: str) -> str:
    """Paragraphs, and what stands between backticks as code."""
    marked = _CODE.sub(r"<code>\1</code>", escape(text, quote=False))
    return "".join(f"<p>{paragraph}</p>" for paragraph in marked.split("\n\n") if paragraph)
