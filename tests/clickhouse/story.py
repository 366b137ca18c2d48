"""What several nodes told of a load (`tests.clickhouse.load`), and whether it fits together.

A group is a register: what a walk sees of it must be what some write made of it that had begun by then, and after
which, before the walk began, no other began and was acknowledged.
"""

from __future__ import annotations

import itertools
import queue
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from signal import Signals
from typing import Final

import msgspec

from calldex.store import Store, Version
from tests.clickhouse.cluster import ROOT
from tests.clickhouse.load import GROUPS, SHARED, SIZE, Begun, Done, Failed, Given, Ready, Told, Walked, Wrong, uuid

NEVER: Final = float("inf")
_START_S: Final = 60.0


class Write(msgspec.Struct):
    """A write of a group. One that nobody acknowledged may have been done, until `ended`."""

    text: str | None
    began: float
    ended: float = NEVER
    kept: bool = False


class Node:
    """A load in a process of its own, and all it has told."""

    def __init__(self, given: Given) -> None:
        command = [sys.executable, "-m", "tests.clickhouse.load"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.told: list[Told] = []
        self._ready: queue.Queue[bool] = queue.Queue()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        self._line(msgspec.json.encode(given).decode())
        assert self._ready.get(timeout=_START_S), f"it ended with {self._process.wait()}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):  # cut by a kill, so it was not said
                break
            told = msgspec.json.decode(line, type=Told)
            self.told.append(told)
            if isinstance(told, Ready):
                self._ready.put(True)
        self._ready.put(False)

    def _line(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()

    def send(self, number: Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def finish(self) -> None:
        """Let it end what it is at."""
        self._line("end")
        self._end()
        assert self._process.returncode == 0

    def kill(self) -> None:
        """End it at once, if it is running."""
        if self._process.returncode is None:
            self._process.kill()
            self._end()

    def _end(self) -> None:
        self._process.wait()
        self._reading.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


class Story:
    """All that some nodes told."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.writes: dict[tuple[int, int], list[Write]] = defaultdict(list)
        self.walks: list[Walked] = []
        self.wrong: list[str] = []
        self.failed: list[Failed] = []
        self.refused: list[str] = []
        """What was said of writes that failed."""
        for node in nodes:
            self._hear(node.told)

    def _hear(self, told: Sequence[Told]) -> None:
        begun: dict[int, Write] = {}
        for each in told:
            match each:
                case Begun():
                    begun[each.number] = Write(each.text, each.at)
                    self.writes[each.account, each.group].append(begun[each.number])
                case Done():
                    begun[each.number].ended, begun[each.number].kept = each.at, not each.failed
                    self.refused += [each.failed] if each.failed else []
                    if len(set(each.outcomes)) > 1 or len(each.outcomes) not in {0, SIZE}:
                        self.wrong.append(f"a group is torn: {each.outcomes}")
                case Walked():
                    self.walks.append(each)
                case Wrong():
                    self.wrong.append(each.text)
                case Failed():
                    self.failed.append(each)
                case Ready():
                    pass

    def kept(self) -> int:
        """How many writes were acknowledged."""
        return sum(write.kept for writes in self.writes.values() for write in writes)

    def contradictions(self) -> Iterator[str]:
        """What walks saw that cannot be."""
        yield from self.wrong
        for walk in self.walks:
            for group in range(GROUPS):
                text = walk.groups.get(group)
                if not self._possible(walk.account, group, text, walk.began, walk.fixed):
                    yield f"account {walk.account}, group {group}: {text!r} was seen from {walk.began} to {walk.fixed}"

    def _possible(self, account: int, group: int, text: str | None, began: float, fixed: float) -> bool:
        writes = [Write(None, -NEVER, -NEVER, kept=True), *self.writes[account, group]]
        last = max(write.began for write in writes if write.kept and write.ended < began)
        # An acknowledged write that began after this one ended, and was over before the walk, has replaced it.
        return any(write.text == text and write.began < fixed and write.ended >= last for write in writes)

    def losses(self, store: Store) -> Iterator[str]:
        """What the histories of the records lack, or have twice, or in a wrong order."""
        for (account, group), writes in self.writes.items():
            histories = [store.history(account, uuid(account, group, number)) for number in range(SIZE)]
            texts = [[_text(version) for version in history] for history in histories]
            where = f"account {account}, group {group}"
            if any(other != texts[0] for other in texts):
                yield f"{where}: torn: {texts}"
            for history in histories:
                yield from (f"{where}: {problem}" for problem in _broken(history))
            yield from (f"{where}: {problem}" for problem in _differences(writes, texts[0], group >= SHARED))


class _Comment(msgspec.Struct):
    comment: str


def _text(version: Version) -> str | None:
    return None if version.json is None else msgspec.json.decode(version.json, type=_Comment).comment.partition(" ")[2]


def _broken(history: Sequence[Version]) -> Iterator[str]:
    """Versions follow one another without holes or overlaps; only the last one is live."""
    for one, other in itertools.pairwise(history):
        if one.json is not None and one.seq_to != other.seq:
            yield f"a version from {one.seq} to {one.seq_to} is followed by one from {other.seq}"
    if history and history[-1].seq_to is not None and history[-1].json is not None:
        yield f"the last version ended at {history[-1].seq_to}"


def _differences(writes: Sequence[Write], texts: Sequence[str | None], own: bool) -> Iterator[str]:
    """Every acknowledged text stands in the history once, and nothing that was not written; texts stand in the order in
    which they were written, as far as one was over before another began."""
    named = [text for text in texts if text is not None]
    wanted = {write.text for write in writes if write.kept and write.text is not None}
    if lost := wanted - set(named):
        yield f"lost: {lost}"
    if strange := set(named) - {write.text for write in writes}:
        yield f"nobody wrote {strange}"
    if len(named) != len(set(named)):
        yield f"doubled: {named}"
    spans = {write.text: write for write in writes if write.kept}
    for one, other in itertools.combinations([text for text in named if text in spans], 2):
        if spans[other].ended < spans[one].began:
            yield f"{other} stands behind {one}"
    if own:
        last = max((write for write in writes if write.kept), key=lambda write: write.ended, default=None)
        if last is not None and texts and last.ended > max(write.began for write in writes) and texts[-1] != last.text:
            yield f"{last.text!r} was acknowledged last, {texts[-1]!r} is live"
