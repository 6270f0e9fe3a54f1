"""What stands in an audit folder: the log of each module, its parts in order, and the runs in it.

A run is what one process wrote from its start to its end, over as many parts as it took. Used by `alphatrader replay`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from alphatrader.runtime.audit_file import (
    SUFFIX,
    BlockPlace,
    Hole,
    Kind,
    Label,
    Mapped,
    Record,
    index,
    label_of,
    part_of,
    place_of,
    places_in,
    read,
    records_of,
)

_NAME: Final = re.compile(r"(?P<name>[a-z_.0-9]+)-(?P<date>\d{4}-\d\d-\d\d)-(?P<part>\d{4,})")


class Joint(NamedTuple):
    """One part, and whether it follows."""

    path: Path
    why: str | None
    """What is wrong between it and the part before it; None: nothing."""
    sound: bool
    """Whether it is the part that its name says. What is not is not read: it stands elsewhere, too."""


@dataclass(frozen=True)
class Log:
    """The parts of one module's log, oldest first."""

    name: str
    paths: tuple[Path, ...]

    def joints(self) -> Iterator[Joint]:
        """How each part joins the one before it, by what their labels say."""
        before: _Before | None = None
        for path in self.paths:
            try:
                with Mapped(path) as content:
                    label, size = label_of(content), len(content)
            except OSError as error:  # the oldest go when all outgrow their bound
                yield Joint(path, f"{path.name}: {error.strerror}", sound=False)
                continue
            joint = _joint(before, path, label)
            yield joint
            before = _Before(path, size, label, joint.sound)

    def records(self, begin: int = 0) -> Iterator[Record]:
        """All of them, with a hole where a part is missing or does not follow; of the first part from this block's offset on."""
        for path, why, sound in self.joints():
            if why is not None:
                yield Record(Kind.HOLE, 0, 0, why.encode())
            for record in read(path, begin if path is self.paths[0] else 0) if sound else ():
                if record.kind is Kind.HOLE:
                    record = record._replace(data=f"{path.name}: {record.data.decode()}".encode())
                yield record

    def back_from(self, market_ns: int, kinds: Collection[Kind]) -> Iterator[tuple[Record, Iterator[Record]]]:
        """(record, what was written after it) of each record of these kinds at or before an instant, newest first, found from the
        end: what lies farther back is not read. A part that cannot be read is passed over. Raises OSError."""
        sound = [joint.sound for joint in self.joints()]
        for at in range(len(self.paths) - 1, -1, -1):
            if not sound[at]:
                continue
            path = self.paths[at]
            with Mapped(path) as content:
                places = [place for place in places_in(content) if isinstance(place, BlockPlace) and place.market_ns <= market_ns]
                for place in reversed(places):
                    records = records_of(content, place)
                    if isinstance(records, Hole):
                        continue
                    for number in range(len(records) - 1, -1, -1):
                        record = records[number]
                        if record.kind in kinds and record.market_ns <= market_ns:
                            yield record, self._after(at, place, number + 1)

    def _after(self, at: int, place: BlockPlace, skip: int) -> Iterator[Record]:
        """All records from this one of this block on."""
        rest = Log(self.name, self.paths[at:]).records(place.offset)
        yield from islice(rest, skip, None)

    def runs(self) -> Iterator[tuple[Record | None, Iterator[Record]]]:
        """(how it began, what it wrote) of each run; None where its beginning is not there any more."""
        return runs_in(self.records())


class _Before(NamedTuple):
    """The part that stands before another."""

    path: Path
    size: int
    label: Label | None
    """None where it cannot be read."""
    sound: bool


def _joint(before: _Before | None, path: Path, label: Label | None) -> Joint:
    match = _NAME.fullmatch(path.stem)
    if label is not None and match and (label.name, label.part) != (match["name"][:24], part_of(path)):
        why = f"{path.name}: it says that it is part {label.part} of {label.name}: a copy, or renamed"
        return Joint(path, why, sound=False)
    if before is not None and part_of(path) == part_of(before.path):
        return Joint(path, f"{path.name}: it has the number of {before.path.name}", sound=False)
    return Joint(path, None if before is None else _apart(before, path, label), sound=True)


def _apart(before: _Before, path: Path, label: Label | None) -> str | None:
    """Why a part does not follow the one before it; None: it does."""
    if part_of(path) != part_of(before.path) + 1:
        return f"no part between {before.path.stem} and {path.stem}"
    if label is None or not before.sound:
        return None  # the hole is told where it is
    if before.size < label.bytes_before:
        had = f"{before.size} bytes where it had {label.bytes_before} when {path.name} was begun"
        return f"{before.path.name}: it was cut: it has {had}"
    last = before.label
    if before.size > label.bytes_before or (last and label.nth != (last.nth + 1 if last.writer == label.writer else 0)):
        return f"{path.name}: {before.path.name} was not ended when it was begun: two processes wrote one log at once"
    return None


def runs_in(records: Iterator[Record]) -> Iterator[tuple[Record | None, Iterator[Record]]]:
    """The same of records from anywhere in a log on."""
    return _Runs(records)


class _Runs:
    def __init__(self, records: Iterator[Record]) -> None:
        self._records = records
        self._begins: Record | None = None
        self._started = False

    def __iter__(self) -> _Runs:
        return self

    def __next__(self) -> tuple[Record | None, Iterator[Record]]:
        for _ in self._rest():  # what nobody read of the run before
            pass
        if not self._started:
            self._started = True
            first = next(self._records, None)
            if first is None:
                raise StopIteration
            if first.kind is not Kind.BEGUN:
                return None, self._rest(first)
            self._begins = first
        if self._begins is None:
            raise StopIteration
        begun, self._begins = self._begins, None
        return begun, self._rest()

    def _rest(self, first: Record | None = None) -> Iterator[Record]:
        """To the next beginning, which is kept."""
        if first is not None:
            yield first
        if self._begins is not None or not self._started:
            return
        for record in self._records:
            if record.kind is Kind.BEGUN:
                self._begins = record
                return
            yield record


def logs(path: Path) -> list[Log]:
    """The logs of a folder (a mode's `data/<mode>`, its `audit`, or any), or one file. Raises FileNotFoundError, ValueError."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder")
    if path.is_file():
        return [Log(_name(path), (path,))]
    folder = path / "audit" if (path / "audit").is_dir() else path
    found: dict[str, list[Path]] = {}
    for file in folder.glob(f"*{SUFFIX}"):
        found.setdefault(_name(file), []).append(file)
    if not found:
        raise ValueError(f"{path}: there is no {SUFFIX} file in it")
    return [Log(name, tuple(sorted(found[name], key=place_of))) for name in sorted(found)]


@dataclass(frozen=True)
class Part:
    """One file, by its headers alone."""

    path: Path
    blocks: int
    records: int
    bytes: int
    first_ns: int | None
    """Market time of its first record; None where nothing can be read."""
    last_ns: int | None
    """Market time at which its last block began."""
    holes: tuple[str, ...]


def look(path: Path, why: str | None = None) -> Part:
    """`why`: what is wrong between it and the part before it. Raises OSError."""
    places = list(index(path))
    whole = [place for place in places if not isinstance(place, Hole)]
    return Part(
        path,
        len(whole),
        sum(place.records for place in whole),
        path.stat().st_size,
        whole[0].market_ns if whole else None,
        whole[-1].market_ns if whole else None,
        (*([why] if why else []), *(str(place) for place in places if isinstance(place, Hole))),
    )


def _name(path: Path) -> str:
    match = _NAME.fullmatch(path.stem)
    return match["name"] if match else path.stem
