"""Recordings in a bucket: what is fetched, how often, and what it says when there is nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calldex import buckets
from calldex.buckets import Credentials
from calldex.errors import NotFound, Unavailable
from calldex.recordings import files
from calldex.recordings.files import Recordings, Stored
from tests.recordings.test_files import call, tone
from tests.s3 import ACCESS_KEY, S3, SECRET_KEY, s3

OPENS: Final = Credentials(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3]:
    """A server of buckets."""
    with s3() as server:
        yield server


@pytest.fixture(autouse=True)
def empty(bucket: S3) -> None:
    """It has nothing yet."""
    bucket.objects.clear()
    bucket.asked.clear()


def place(bucket: S3, prefix: str = "calls") -> dict[str, str]:
    """The settings of a source whose recordings lie there."""
    return {"recordings": f"s3://voices/{prefix}?endpoint={bucket.url}&region=eu-west-1"}


def stored(
    folder: Path,
    bucket: S3,
    reference: str = "a.wav",
    opens: Credentials | None = OPENS,
    given: dict[str, str] | None = None,
) -> Stored:
    """A recording."""
    return Recordings(folder).stored(call(reference), None, {**place(bucket), **(given or {})}, lambda: opens)


@pytest.mark.parametrize(
    ("reference", "given", "key"),
    [
        ("a.wav", {}, "calls/a.wav"),
        ("2026/03/q-301-+441632960961.wav", {}, "calls/2026/03/q-301-+441632960961.wav"),
        ("a", {}, "calls/a.wav"),
        ("s3://voices/calls/2026/a.wav", {}, "calls/2026/a.wav"),
        ("/var/spool/asterisk/monitor/a.wav", {"recording_path": "{start:%Y}/{name}"}, "calls/2026/a.wav"),
        ("a b#1%41.wav", {}, "calls/a b#1%41.wav"),
    ],
)
def test_an_object_is_where_the_settings_say(
    tmp_path: Path, bucket: S3, reference: str, given: dict[str, str], key: str
) -> None:
    """Templates are those of folders; the copy is the object, byte for byte, and has peaks and an MP3."""
    audio = tone(tmp_path / "made.wav").read_bytes()
    bucket.objects[f"/voices/{key}"] = audio
    found = stored(tmp_path, bucket, reference, given=given)
    assert (".wav", audio) == (found.suffix, Path(found.path).read_bytes())
    assert 2.0 == Recordings(tmp_path).peaks(found).duration_s
    assert Recordings(tmp_path).mp3(found) is not None
    os.close(found.descriptor)


def test_an_object_is_fetched_once_for_each_of_its_versions(tmp_path: Path, bucket: S3) -> None:
    """It is asked whether it is still the same; another object of that name is another recording, also for what is made
    of it."""
    sizes = []
    for seconds in (2.0, 2.0, 3.0):
        bucket.objects["/voices/calls/a.wav"] = tone(tmp_path / "made.wav", seconds=seconds).read_bytes()
        found = stored(tmp_path, bucket)
        sizes.append(Recordings(tmp_path).peaks(found).duration_s)
        os.close(found.descriptor)
    assert [2.0, 2.0, 3.0] == sizes
    assert 2 == bucket.asked.count("GET /voices/calls/a.wav")


@pytest.mark.parametrize("reference", ["../secret.wav", "a/../../secret.wav", "..", ".", "a//b.wav", "a\0.wav"])
def test_nothing_outside_the_prefix_is_reached(tmp_path: Path, bucket: S3, reference: str) -> None:
    """What would lead out is not even asked for."""
    bucket.objects["/voices/secret.wav"] = b"RIFF"
    with pytest.raises(NotFound, match="is not where"):
        stored(tmp_path, bucket, reference)
    assert [] == bucket.asked


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(reference=st.text(alphabet="./a\\%2e{}?#~", min_size=1, max_size=12))
def test_no_name_asks_for_an_object_beside_the_prefix(tmp_path: Path, bucket: S3, reference: str) -> None:
    """However dots, slashes and their encodings are mixed, keys begin with the prefix."""
    bucket.asked.clear()
    with pytest.raises((NotFound, Unavailable)):
        stored(tmp_path, bucket, reference)
    assert all(each.startswith("HEAD /voices/calls/") and "/../" not in each for each in bucket.asked)


def test_what_is_missing_or_refused_is_told_without_its_name(tmp_path: Path, bucket: S3) -> None:
    """No such object; a secret that is wrong; names have telephone numbers in them, so no message has one."""
    wrong = Credentials(access_key_id=ACCESS_KEY, secret_access_key="another")
    for opens, told in ((OPENS, "is not where"), (wrong, "its credentials are wrong")):
        with pytest.raises(NotFound, match=told) as raised:
            stored(tmp_path, bucket, "441632960961.wav", opens)
        assert "441632" not in str(raised.value)
        assert "another" not in str(raised.value)
    assert [] == list((tmp_path / files.CACHE).glob("*"))


def test_a_bucket_that_is_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As something that may pass."""
    monkeypatch.setattr(buckets, "READING", timedelta(milliseconds=1))
    with s3() as server:
        gone = place(server)
    with pytest.raises(Unavailable, match="voices of this source's recordings does not answer"):
        Recordings(tmp_path).stored(call("a.wav"), None, gone, lambda: OPENS)


def test_an_object_that_is_too_large_is_not_fetched(
    tmp_path: Path, bucket: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte more than the limit is refused, the limit itself is not."""
    audio = tone(tmp_path / "made.wav").read_bytes()
    bucket.objects["/voices/calls/a.wav"] = audio
    monkeypatch.setattr(files, "MOST_BYTES", len(audio) - 1)
    with pytest.raises(NotFound, match="larger than"):
        stored(tmp_path, bucket)
    assert [] == [each for each in bucket.asked if each.startswith("GET")]
    monkeypatch.setattr(files, "MOST_BYTES", len(audio))
    os.close(stored(tmp_path, bucket).descriptor)


def test_without_credentials_those_of_the_environment_open_it(
    tmp_path: Path, bucket: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with exports."""
    for name, value in bucket.environment().items():
        monkeypatch.setenv(name, value)
    bucket.objects["/voices/calls/a.wav"] = tone(tmp_path / "made.wav").read_bytes()
    os.close(stored(tmp_path, bucket, opens=None).descriptor)
