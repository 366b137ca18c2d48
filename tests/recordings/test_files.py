"""Where a recording's file is looked for, and what is made of it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from calldex.errors import NotFound
from calldex.recordings import files
from calldex.recordings.files import Recordings
from calldex.recordings.places import problem_of
from calldex.records.record import Cdr, Leg

BEGAN = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)


def call(recording: str | None = "a.wav", **members: Any) -> Cdr:
    """A call with a recording."""
    given = {"uuid": "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44", "type": "inbound", "disposition": "answered"}
    return Cdr(**{**given, "started_at": BEGAN, "duration_s": 5, "talk_s": 5, "recording": recording, **members})


def no_secret() -> None:
    """What opens a folder."""


def tone(path: Path, subtype: str = "ULAW", channels: int = 1, seconds: float = 2.0) -> Path:
    """A file of silence and then a tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(int(8000 * seconds)) / 8000
    sound = np.where(times < seconds / 2, 0, 0.25 * np.sin(2 * np.pi * 440 * times))
    soundfile.write(path, np.column_stack([sound] * channels), 8000, format="WAV", subtype=subtype)
    return path


@pytest.mark.parametrize(
    ("settings", "reference", "lies"),
    [
        ({}, "a.wav", "a.wav"),
        ({"recording_path": "{name}"}, "/elsewhere/2026/a.wav", "a.wav"),
        ({}, "a", "a.wav"),
        ({}, "a", "a.WAV"),
        ({}, "{root}/2026/a.wav", "2026/a.wav"),
        ({"recording_path": "{start:%Y/%m/%d}/{recording}", "zone": "Europe/Berlin"}, "q-1.wav", "2026/03/02/q-1.wav"),
        (
            {"recording_path": "{start:%Y/%b/%d}/{uuid}.wav"},
            "x",
            "2026/Mar/01/01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44.wav",
        ),
        ({"recording_path": "main/monitor/{recording}"}, "deep/er.wav", "main/monitor/deep/er.wav"),
    ],
)
def test_a_file_is_where_the_settings_say(tmp_path: Path, settings: dict[str, str], reference: str, lies: str) -> None:
    """The layouts of Asterisk, FreePBX (day folders in the server's zone), FreeSWITCH and FusionPBX are templates."""
    root = tmp_path / "monitor"
    tone(root / lies)
    record = call(reference.replace("{root}", str(root)))
    stored = Recordings(tmp_path).stored(record, None, {"recordings": str(root), **settings}, no_secret)
    assert ".wav" == stored.suffix
    assert Recordings(tmp_path).peaks(stored).duration_s == 2.0
    os.close(stored.descriptor)


@pytest.mark.parametrize(
    "reference",
    ["../secret.wav", "a/../../secret.wav", "/etc/passwd", "link.wav", "folder/secret.wav", "pipe.wav\0", "."],
)
def test_nothing_outside_the_folder_is_reached(tmp_path: Path, reference: str) -> None:
    """Neither a name nor a link, of a file or of a folder, leads out of the root."""
    root = tmp_path / "monitor"
    tone(root / "a.wav")
    tone(tmp_path / "secret.wav")
    (root / "link.wav").symlink_to(tmp_path / "secret.wav")
    (root / "folder").symlink_to(tmp_path)
    with pytest.raises(NotFound):
        Recordings(tmp_path).stored(call(reference), None, {"recordings": str(root)}, no_secret)


@given(reference=st.text(alphabet="./a\\%{}\0~", min_size=1, max_size=12))
def test_no_name_reaches_a_file_beside_the_folder(tmp_path_factory: pytest.TempPathFactory, reference: str) -> None:
    """However dots, slashes and braces are mixed, only files below the root are opened."""
    base = tmp_path_factory.getbasetemp() / "names"
    root = base / "root"
    root.mkdir(parents=True, exist_ok=True)
    (base / "a").write_bytes(b"outside")
    try:
        stored = Recordings(base).stored(call(reference), None, {"recordings": str(root)}, no_secret)
    except NotFound:
        return
    assert Path(stored.path).resolve().is_relative_to(root)
    os.close(stored.descriptor)


@pytest.mark.parametrize("subtype", ["PCM_16", "ULAW", "ALAW", "GSM610"])
def test_what_recorders_write_becomes_an_mp3_and_peaks(tmp_path: Path, subtype: str) -> None:
    """An MP3 of the same length; peaks that are silent where it is silent and loud where it is not."""
    tone(tmp_path / "root" / "a.wav", subtype)
    recordings = Recordings(tmp_path)
    stored = recordings.stored(call(), None, {"recordings": str(tmp_path / "root")}, no_secret)
    made = recordings.mp3(stored)
    assert made is not None
    assert pytest.approx(2.0, abs=0.2) == soundfile.info(made).duration
    (peaks,) = recordings.peaks(stored).channels
    assert max(peaks[: len(peaks) // 2 - 5]) <= 2
    assert 127 == max(peaks)
    assert made == recordings.mp3(stored), "it is made once"
    os.close(stored.descriptor)


def test_both_channels_have_peaks(tmp_path: Path) -> None:
    """Of a stereo file, who speaks when is seen."""
    tone(tmp_path / "root" / "a.wav", channels=2)
    stored = Recordings(tmp_path).stored(call(), None, {"recordings": str(tmp_path / "root")}, no_secret)
    assert 2 == len(Recordings(tmp_path).peaks(stored).channels)
    os.close(stored.descriptor)


def test_what_cannot_be_converted_is_named(tmp_path: Path) -> None:
    """GSM without a header is told by its name."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.gsm").write_bytes(bytes([0xD3, 1, 2, 3]) * 33)
    recordings = Recordings(tmp_path)
    stored = recordings.stored(call("a.gsm"), None, {"recordings": str(root)}, no_secret)
    with pytest.raises(NotFound, match="GSM"):
        recordings.mp3(stored)
    os.close(stored.descriptor)
    assert [] == list((tmp_path / files.CACHE).iterdir()), "nothing half is left"


def test_a_leg_has_its_own_file(tmp_path: Path) -> None:
    """`leg` counts from 1; one that is not there, or has no recording, is told."""
    tone(tmp_path / "root" / "b.wav")
    legs = (Leg(started_at=BEGAN), Leg(started_at=BEGAN + timedelta(seconds=1), recording="b.wav"))
    record, settings = call(None, legs=legs), {"recordings": str(tmp_path / "root")}
    os.close(Recordings(tmp_path).stored(record, 2, settings, no_secret).descriptor)
    for leg, told in ((None, "no recording"), (1, "leg 1 .* no recording"), (3, "there is no leg 3")):
        with pytest.raises(NotFound, match=told):
            Recordings(tmp_path).stored(record, leg, settings, no_secret)


def test_what_is_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its size, what was used the longest ago goes."""
    monkeypatch.setattr(files, "KEPT_BYTES", 20_000)
    recordings = Recordings(tmp_path)
    for number in range(6):
        tone(tmp_path / "root" / f"{number}.wav", seconds=4 + number)
        stored = recordings.stored(call(f"{number}.wav"), None, {"recordings": str(tmp_path / "root")}, no_secret)
        recordings.mp3(stored)
        os.close(stored.descriptor)
    assert sum(path.stat().st_size for path in (tmp_path / files.CACHE).iterdir()) <= 20_000


def test_a_demo_has_audio_of_its_own(tmp_path: Path) -> None:
    """As long as they talked, silent on hold, the same each time."""
    both = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        stored = Recordings(tmp_path / name).stored(call(), None, {"recordings": "invented:"}, no_secret)
        both.append(Path(stored.path).read_bytes())
        assert pytest.approx(5.0, abs=0.01) == Recordings(tmp_path / name).peaks(stored).duration_s
        os.close(stored.descriptor)
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("relative", "{recording}", ""), "neither an absolute path nor a bucket"),
        (("s3://", "{recording}", ""), "this is no bucket"),
        (("s3://calls?secret=x", "{recording}", ""), "this is no bucket"),
        (("/r", "{recording}", "Europe/Nowhere"), "recording_zone"),
        (("/r", "{callid}", ""), "there is no {callid}"),
        (("/r", "{start:%Q}", ""), "%Q"),
    ],
)
def test_settings_are_checked(settings: tuple[str, str, str], told: str) -> None:
    """What cannot work is refused when the source is added."""
    problem = problem_of(*settings)
    assert problem is not None
    assert told in problem
