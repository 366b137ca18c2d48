"""Who may hear a recording, how it is sent, and that it is noted."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from calldex.buckets import Credentials, keep_credentials
from calldex.directory import AuditFilter
from calldex.records.record import Cdr
from tests.api.conftest import Site, write
from tests.recordings.test_files import call, tone
from tests.s3 import ACCESS_KEY, SECRET_KEY, s3


@pytest.fixture
def record(empty: Site, tmp_path: Path) -> Cdr:
    """A call of a source whose recordings lie in a folder."""
    tone(tmp_path / "monitor" / "a.wav")
    empty.node.directory.add_source("pbx", "jsonl", {"recordings": str(tmp_path / "monitor")})
    made = call("a.wav", source="pbx")
    write(empty.node, "main", [made])
    return made


def listen(site: Site, record: Cdr, key: str = "admin", rest: str = ".mp3", **params: object) -> httpx.Response:
    """A request for its recording."""
    names = {"range": "Range", "none_match": "If-None-Match"}
    headers = {header: str(params.pop(name)) for name, header in names.items() if name in params}
    return site.api.get(f"/recordings/{record.uuid}{rest}", site.keys[key], headers, **params)


def test_a_recording_is_an_mp3_with_ranges(empty: Site, record: Cdr) -> None:
    """Whole, in part with 206, with an entity tag; 416 beyond its end."""
    whole = listen(empty, record)
    assert (200, "audio/mpeg", "bytes") == (
        whole.status_code,
        whole.headers["content-type"],
        whole.headers["accept-ranges"],
    )
    part = listen(empty, record, range="bytes=10-19")
    assert (206, whole.content[10:20]) == (part.status_code, part.content)
    assert part.headers["etag"] == whole.headers["etag"]
    assert 416 == listen(empty, record, range="bytes=99999999-").status_code
    assert b"RIFF" == listen(empty, record, form="stored").content[:4]


def test_who_has_it_is_not_sent_it_again(empty: Site, record: Cdr) -> None:
    """304 for its entity tag, also where a part is asked for; it is noted as heard all the same."""
    tag = listen(empty, record).headers["etag"]
    for asked in (tag, f'"other", W/{tag}', "*"):
        for ranged in ({}, {"range": "bytes=0-9"}):
            again = listen(empty, record, **ranged, none_match=asked)
            assert (304, b"", tag) == (again.status_code, again.content, again.headers["etag"]), asked
    assert 200 == listen(empty, record, none_match='"other"').status_code
    entries = empty.node.directory.audit_entries(None, AuditFilter(), 100)
    assert 8 == sum(each.target == record.uuid and each.status == 200 for each in entries)
    files = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
    assert [] == [file for file in files if file.endswith((".mp3", ".wav"))]


def test_no_file_stays_open(empty: Site, record: Cdr) -> None:
    """Whether it is sent whole, in part, or not at all since its range is none of it."""
    for asked in ("bytes=0-", "bytes=0-9", "bytes=99999999-", "bytes=9-1", "lines=1", "bytes=a-b"):
        listen(empty, record, range=asked)
        files = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
        assert [] == [file for file in files if file.endswith((".mp3", ".wav"))], asked


def test_a_download_has_a_name_without_numbers(empty: Site, record: Cdr) -> None:
    """The file is called by the record's uuid, whatever the source called it."""
    reply = listen(empty, record, mode="download")
    assert f'attachment; filename="{record.uuid}.mp3"' == reply.headers["content-disposition"]


def test_peaks_are_sent(empty: Site, record: Cdr) -> None:
    """For the length, and every channel."""
    reply = listen(empty, record, rest="/peaks").json()
    assert (2.0, 1) == (reply["duration_s"], len(reply["channels"]))


def test_listening_and_downloading_are_audited(empty: Site, record: Cdr) -> None:
    """Each is noted with the record and who it was."""
    listen(empty, record)
    listen(empty, record, mode="download")
    listen(empty, record, "phone")
    entries = empty.node.directory.audit_entries(None, AuditFilter(), 100)
    found = [(each.action, each.status) for each in entries if each.target == record.uuid]
    assert sorted(found) == sorted([("listen", 200), ("download", 200), ("listen", 403)])


@pytest.mark.parametrize(
    ("key", "expected"), [("admin", 200), ("analyst", 200), ("supervisor", 404), ("phone", 403), ("other", 404)]
)
def test_only_who_sees_the_call_hears_it(empty: Site, record: Cdr, key: str, expected: int) -> None:
    """Outside one's reach there is no such record; without the right, it is refused; another account has none."""
    for rest in (".mp3", "/peaks"):
        assert expected == listen(empty, record, key, rest).status_code


def test_what_is_missing_is_told(empty: Site, record: Cdr, tmp_path: Path) -> None:
    """No key, no uuid, no file, a wrong parameter."""
    (tmp_path / "monitor" / "a.wav").unlink()
    missing = listen(empty, record)
    assert 404 == missing.status_code
    assert "is not where" in missing.json()["error"]
    assert 401 == empty.api.get(f"/recordings/{record.uuid}.mp3").status_code
    assert 404 == empty.api.get("/recordings/abc.mp3", empty.keys["admin"]).status_code
    assert 400 == listen(empty, record, leg="0").status_code
    assert 400 == listen(empty, record, mode="steal").status_code


def test_a_bucket_is_a_place_like_a_folder(empty: Site, tmp_path: Path) -> None:
    """Ranges, entity tags, peaks and the audit are the same; what opens it is sealed, and goes with its source."""
    with s3() as bucket:
        bucket.objects["/voices/a.wav"] = tone(tmp_path / "a.wav").read_bytes()
        lies = {"recordings": f"s3://voices?endpoint={bucket.url}&region=eu-west-1"}
        empty.node.directory.add_source("pbx", "jsonl", lies)
        opens = Credentials(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)
        keep_credentials(empty.node.directory, "recordings", "pbx", opens)
        record = call("a.wav", source="pbx")
        write(empty.node, "main", [record])
        whole = listen(empty, record)
        part = listen(empty, record, range="bytes=10-19")
        assert (200, 206, whole.content[10:20]) == (whole.status_code, part.status_code, part.content)
        assert part.headers["etag"] == whole.headers["etag"]
        assert bucket.objects["/voices/a.wav"] == listen(empty, record, form="stored").content
        assert 2.0 == listen(empty, record, rest="/peaks").json()["duration_s"]
        assert [403, 404] == [listen(empty, record, key).status_code for key in ("phone", "other")]
        bucket.objects.clear()
        missing = listen(empty, record)
        assert (404, True) == (missing.status_code, "is not where" in missing.json()["error"])
    away = listen(empty, record)
    assert (503, True) == (away.status_code, "does not answer" in away.json()["error"])
    entries = empty.node.directory.audit_entries(None, AuditFilter(), 100)
    heard = [each.status for each in entries if each.target == record.uuid]
    assert [200, 200, 200, 200, 403] == sorted(heard)  # who finds nothing has heard nothing
    empty.node.directory.remove_source("pbx")
    assert empty.node.directory.bucket_secret("recordings", "pbx") is None
