"""The JSON of versions lies in the ledger compressed, and comes out as it was or is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from calldex.demo import interactions
from calldex.store import Prepared
from calldex.store.embedded import LEDGER_FILE
from calldex.store.embedded.packing import LINE_FEED, Garbled, Packing
from calldex.store.sql import prepared
from tests.engines import answer, disagreeing, embedded, everything, put

JSON: Final = st.dictionaries(st.text(max_size=8), st.text(max_size=40), max_size=8).map(
    lambda members: b"{" + repr(members).encode() + b"}"
)


@pytest.fixture(scope="module")
def records() -> list[Prepared]:
    """Records of a contact centre that the dictionary was not made of."""
    return [prepared(cdr) for cdr in interactions(1_500, 5)]


@pytest.fixture(scope="module")
def packing(tmp_path_factory: pytest.TempPathFactory) -> Packing:
    """That of a new ledger."""
    data = tmp_path_factory.mktemp("packing")
    embedded(data).close()
    return packing_of(data)


def packing_of(data: Path) -> Packing:
    """That of the ledger in a folder."""
    with closing(apsw.Connection(str(data / LEDGER_FILE), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        return Packing(reader)


def stored(data: Path) -> Iterator[bytes]:
    """What lies in a ledger, in its order."""
    with closing(apsw.Connection(str(data / LEDGER_FILE), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        for (json,) in reader.execute("SELECT CAST(json AS BLOB) FROM version WHERE json IS NOT NULL ORDER BY seq"):
            yield json


@given(texts=st.lists(st.tuples(JSON, st.booleans()), max_size=12))
def test_what_goes_in_comes_out(packing: Packing, texts: list[tuple[bytes, bool]]) -> None:
    """However many, and also among such as were never compressed."""
    plain = [text for text, _ in texts]
    packed = packing.pack(plain)
    mixed = [one if is_packed else text for one, (text, is_packed) in zip(packed, texts, strict=True)]
    for some in (packed, mixed):
        assert plain == list(map(bytes, packing.unpack(some)))
        assert plain == packing.readable(some)
        assert plain == [packing.plain(one) for one in some]
        if some:
            together = packing.joined(LINE_FEED.join(some), some[-1])
            assert together == (b"\n".join(plain) if some == packed else None)


DAMAGES: Final = st.tuples(
    st.sampled_from(["changed", "cut", "longer"]), st.integers(0, 2), st.integers(0, 10_000), st.integers(1, 255)
)


@given(damage=DAMAGES)
def test_no_changed_byte_goes_unseen(
    packing: Packing, records: list[Prepared], damage: tuple[str, int, int, int]
) -> None:
    """Nor one more or less: what comes out is what was, or it is refused, and the place of it is told."""
    kind, place, at, mask = damage
    texts = [record.json for record in records[:3]]
    packed = packing.pack(texts)
    wrong = bytearray(packed[place])
    if kind == "changed":
        wrong[1 + at % (len(wrong) - 1)] ^= mask
    elif kind == "cut":
        del wrong[at % len(wrong) :]
    else:
        wrong.append(mask)
    packed[place] = bytes(wrong)
    readable = packing.readable(packed)
    if readable[place] is None:
        with pytest.raises(Garbled) as refused:
            packing.unpack(packed)
        assert place == refused.value.place
    assert readable in (texts, [None if each == place else text for each, text in enumerate(texts)])
    if packed[place]:  # the ledger does not ask for what holds an empty one
        assert packing.joined(LINE_FEED.join(packed), packed[-1]) in (b"\n".join(texts), None)


def test_a_ledger_takes_a_fifth(tmp_path: Path, records: list[Prepared]) -> None:
    """Also of records that nobody knew when the dictionary was made, and from the first one on."""
    with closing(embedded(tmp_path)) as store:
        for record in records:
            put(store, [record], wait=False)
            if record is records[50]:
                break
        put(store, records[51:])
        assert b"\n".join(record.json for record in records[:0:-1])[:500] == answer(store, everything())[1][:500]
    kept = list(stored(tmp_path))
    assert len(records) == len(kept)
    assert sum(map(len, kept)) < 0.22 * sum(len(record.json) for record in records)


def test_another_dictionary(tmp_path: Path, records: list[Prepared]) -> None:
    """What was written by the one before stays readable beside what is written by the newest."""
    with closing(embedded(tmp_path)) as store:
        put(store, records[:700])
        whole = answer(store, everything())
    made = zstandard.train_dictionary(4096, [record.json for record in records], dict_id=7)
    with closing(apsw.Connection(str(tmp_path / LEDGER_FILE))) as ledger:
        ledger.execute("INSERT INTO dictionary VALUES (7, ?)", (made.as_bytes(),))
    with closing(embedded(tmp_path)) as store:
        store.settle()
        assert whole == answer(store, everything())
        put(store, records[600:1400])
        assert 1400 == answer(store, everything())[0]
        assert [] == store.integrity() == disagreeing(store)
    used = [zstandard.get_frame_parameters(one).dict_id for one in stored(tmp_path)]
    assert [1] * 700 + [7] * 700 == used
