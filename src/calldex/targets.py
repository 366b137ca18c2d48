"""Where files of exports go: a file, or an object of a bucket; and the places of the setting `export_targets`.

Pure. A bucket is written `s3://bucket/prefix?endpoint=https://storage.example.com&region=eu-west-1`; without an
endpoint it is Amazon's. What opens a bucket never stands here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

S3: Final = "s3://"
MOST_TARGETS: Final = 50
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
VALID_BUCKET: Final = "s3://BUCKET/KEY, which ?endpoint=https://HOST&region=REGION may follow"
VALID: Final = f"names with an absolute path or a bucket, as nightly=/srv/exports,lake={S3}bucket/prefix"


class Bucket(NamedTuple):
    """A key, or what keys begin with, in a bucket; where that is, if not Amazon's, and in which region."""

    bucket: str
    key: str
    endpoint: str | None
    region: str | None

    def below(self, name: str) -> Bucket:
        """The key of a name behind this prefix."""
        return self._replace(key=f"{self.key.rstrip('/')}/{name}".lstrip("/"))


def bucket_of(text: str) -> Bucket:
    """The bucket that a text names; `ValueError` if it is none."""
    url = urlsplit(text)
    options = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
    endpoint, region = options.pop("endpoint", None), options.pop("region", None)
    right = url.scheme == "s3" and _BUCKET.fullmatch(url.netloc) and not options and not url.fragment
    if not right or (endpoint is not None and urlsplit(endpoint).scheme not in ("http", "https")):
        raise ValueError(f"this is no bucket; valid: {VALID_BUCKET}")
    return Bucket(url.netloc, url.path.lstrip("/"), endpoint, region)


class Targets:
    """Places by name, given as text with commas or as several texts: `nightly=/srv/exports`, `lake=s3://bucket/raw`."""

    __slots__ = ("_places",)

    def __init__(self, given: str | Sequence[str] = ()) -> None:
        """Read them; `ValueError` names what is none."""
        texts = [text.strip() for text in given.split(",")] if isinstance(given, str) else list(given)
        places: dict[str, str] = {}
        for text in texts:
            if not text and len(texts) == 1:
                break
            name, _, place = str(text).partition("=")
            if not _NAME.fullmatch(name) or name in places or len(places) == MOST_TARGETS:
                raise ValueError(f"{name[:50]!r} is no name, or there already")
            if place.startswith(S3):
                bucket_of(place)
            elif not place.startswith("/"):
                raise ValueError(f"{place[:50]!r} is neither an absolute path nor a bucket")
            places[name] = place
        self._places: Mapping[str, str] = places

    def __getitem__(self, name: str) -> str:
        return self._places[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Targets) and self._places == other._places

    def __hash__(self) -> int:
        return hash(tuple(self._places.items()))

    def __str__(self) -> str:
        return ",".join(f"{name}={place}" for name, place in self._places.items())

    def __repr__(self) -> str:
        return f"Targets({str(self)!r})"
