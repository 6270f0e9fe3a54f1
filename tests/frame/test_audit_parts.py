"""The parts of one log: what was copied, cut, renamed or written by two processes is named, and never read as if it followed."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from alphatrader.runtime.audit import AuditLog
from alphatrader.runtime.audit_file import BEGUN, LABEL_BYTES, TURN, Kind, Row, parts_of
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.runs import Log, logs, look

BLOCK = 9_000
"""More than a part of `process` takes: each block is a part of its own."""


class Process:
    """One that records: each record of its is on the disk before the next."""

    def __init__(self, folder: Path) -> None:
        self.log = AuditLog(folder, "signals", Clock(), 8 * BLOCK)
        self.log.add(Row(BEGUN, Clock().machine_ns(), b"begun"))

    def writes(self, *words: str) -> None:
        for word in words:
            self.log.add(Row(TURN, Clock().machine_ns(), word.encode() + b"-" + os.urandom(BLOCK)))
            self.log._drain(whole=True)


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """Of a process that wrote two, and of one after it that wrote two."""
    Process(tmp_path).writes("a", "b")
    Process(tmp_path).writes("c", "d")
    return parts_of(tmp_path, "signals")


def told(folder: Path) -> list[str]:
    """What is read, in order: words, beginnings, and holes as they are told."""
    (log,) = logs(folder)
    return [
        f"HOLE {record.data.decode()}" if record.kind is Kind.HOLE else record.data.split(b"-", 1)[0].decode()
        for record in log.records()
    ]


def test_what_nobody_touched_has_no_hole(tmp_path: Path, parts: list[Path]) -> None:
    assert [path.name[-10:] for path in parts] == ["0001.audit", "0002.audit", "0003.audit", "0004.audit"]
    assert told(tmp_path) == ["begun", "a", "b", "begun", "c", "d"]


def copied(path: Path, number: int) -> Path:
    to = path.with_name(f"{path.stem[:-4]}{number:04d}.audit")
    shutil.copy(path, to)
    return to


HARMS: dict[str, tuple[Callable[[list[Path]], object], list[str]]] = {
    "a part copied under the next number": (
        lambda parts: copied(parts[3], 5),
        ["begun", "a", "b", "begun", "c", "d", "HOLE {5}: it says that it is part 4 of signals: a copy, or renamed"],
    ),
    "the first part, which begins a process, copied under the next number": (
        lambda parts: copied(parts[0], 5),
        ["begun", "a", "b", "begun", "c", "d", "HOLE {5}: it says that it is part 1 of signals: a copy, or renamed"],
    ),
    "a part copied over the next": (
        lambda parts: copied(parts[0], 2),
        ["begun", "a", "HOLE {2}: it says that it is part 1 of signals: a copy, or renamed", "begun", "c", "d"],
    ),
    "a part copied under another date": (
        lambda parts: shutil.copy(parts[1], parts[1].with_name("signals-2099-01-01-0002.audit")),
        ["begun", "a", "b", "HOLE signals-2099-01-01-0002.audit: it has the number of {2}", "begun", "c", "d"],
    ),
    "two parts that changed places": (
        lambda parts: (
            parts[1].rename(parts[1].with_suffix(".x")),
            parts[2].rename(parts[1]),
            parts[1].with_suffix(".x").rename(parts[2]),
        ),
        [
            "begun", "a", "HOLE {2}: it says that it is part 3 of signals: a copy, or renamed",
            "HOLE {3}: it says that it is part 2 of signals: a copy, or renamed", "d",
        ],
    ),
    "a part that is gone": (
        lambda parts: parts[1].unlink(),
        ["begun", "a", "HOLE no part between {1.stem} and {3.stem}", "begun", "c", "d"],
    ),
    "a part cut between two blocks": (
        lambda parts: os.truncate(parts[1], LABEL_BYTES),
        ["begun", "a", "HOLE {2}: it was cut: it has 60 bytes where it had {size2} when {3} was begun", "begun", "c", "d"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_a_harm_to_the_parts_is_named_and_nothing_is_read_twice(tmp_path: Path, parts: list[Path], harm: str) -> None:
    sizes = {f"size{number}": path.stat().st_size for number, path in enumerate(parts, 1)}
    names = [Path(f"{parts[0].stem[:-4]}{number:04d}.audit") for number in range(6)]
    do, expected = HARMS[harm]
    do(parts)
    shown = [
        word.format(*(name if ".stem" in word else name.name for name in names), **sizes) if word.startswith("HOLE") else word
        for word in expected
    ]
    assert told(tmp_path) == shown
    # and the list of parts names it at the part, and what is found from the end has no part of it either
    (log,) = logs(tmp_path)
    holes = [word for word in shown if word.startswith("HOLE")]
    assert [f"HOLE {hole}" for path, why, _ in log.joints() for hole in look(path, why).holes] == holes
    begun = [len(list(rest)) for _, rest in log.back_from(2**62, {Kind.BEGUN})]
    assert len(begun) == told(tmp_path).count("begun")


def test_two_processes_that_write_one_log_at_once_are_named_and_neither_goes_on_with_the_others(tmp_path: Path) -> None:
    # given one that was stopped for a while, so that another took its place, and then went on
    first, second = Process(tmp_path), Process(tmp_path)
    first.writes("a")
    second.writes("x")
    first.writes("b", "c")
    second.writes("y")
    # then what each wrote where the other's stands is told as a hole, by the name of both parts
    names = [path.name for path in parts_of(tmp_path, "signals")]
    assert len(names) == 5
    apart = [
        f"HOLE {later}: {earlier} was not ended when it was begun: two processes wrote one log at once"
        for earlier, later in itertools.pairwise(names)
    ]
    assert told(tmp_path) == ["begun", "a", "begun", "x", apart[1], "b", "c", apart[3], "y"]


def test_a_number_that_another_process_takes_in_the_same_moment_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given that the folder was looked at just before the other made its part
    writer, other, looked = Process(tmp_path), Process(tmp_path), []

    def stale(folder: Path, name: str) -> list[Path]:
        found = parts_of(folder, name)
        if not looked:
            looked.append(found)
            other.writes("x")
        return found

    monkeypatch.setattr("alphatrader.runtime.audit.parts_of", stale)
    writer.writes("a")
    assert looked == [[]] and writer.log.dropped == other.log.dropped == 0
    assert [path.name[-10:] for path in parts_of(tmp_path, "signals")] == ["0001.audit", "0002.audit"]
    assert told(tmp_path) == ["begun", "x", "begun", "a"]


def test_a_part_that_the_writer_forgot_while_it_was_read_is_a_hole(tmp_path: Path, parts: list[Path]) -> None:
    log = Log("signals", tuple(parts))
    records = log.records()
    next(records)
    parts[1].unlink()
    holes = [record.data.decode() for record in records if record.kind is Kind.HOLE]
    assert holes == [f"{parts[1].name}: No such file or directory", f"no part between {parts[0].stem} and {parts[2].stem}"]
