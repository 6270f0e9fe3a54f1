"""A live run of real processes, recorded, is decided again byte for byte; what was changed in it is named."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alphatrader.runtime.audit_file import BlockPlace, Kind, Record, index, read
from tests.flow.system import System
from tests.support.recorded import Recorded, kill, record

DECIDERS = ("analytics", "signals")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Fifteen seconds at three times the market's speed; analytics is killed once on the way."""

    def during(system: System) -> None:
        kill(system, "analytics")

    return record(tmp_path_factory.mktemp("live"), 15.0, speed=3.0, during=during)


@pytest.fixture(scope="module")
def deciders(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The logs of the modules that decide, without ibkr's raw messages: these are most of what a replay takes."""
    folder = tmp_path_factory.mktemp("deciders")
    for name in DECIDERS:
        for path in recorded.folder.glob(f"{name}-*"):
            shutil.copy(path, folder)
    return folder


def told(recorded: Recorded, *arguments: str, **options: Any) -> tuple[int, dict[str, Any]]:
    answer = recorded.replay("--json", *arguments, **options)
    assert not answer.stderr, answer.stderr
    report = json.loads(answer.stdout)
    return answer.returncode, report | {"modules": {outcome["module"]: outcome for outcome in report["modules"]}}


def notes(record: Record) -> list[Any]:
    content: list[Any] = msgspec.msgpack.decode(record.data)
    return content


def test_a_live_run_is_decided_again_byte_for_byte(recorded: Recorded, deciders: Path) -> None:
    code, report = told(recorded)
    assert code == 0
    for name in DECIDERS:
        outcome = report["modules"][name]
        assert outcome["first"] is None and outcome["different"] == outcome["unread"] == 0, outcome
        assert outcome["equal"] == outcome["turns"] > 100 and outcome["writes"] > 100 and outcome["holes"] == []
    ingested = report["modules"]["ibkr"]  # from the raw messages of its connection
    assert ingested["first"] is None and ingested["different"] == ingested["unread"] == 0, ingested
    assert ingested["equal"] == ingested["turns"] > 100 and ingested["writes"] > 1_000 and ingested["holes"] == []
    assert report["runs"] >= 4  # analytics was killed, and recovered
    assert any(decision["what"].startswith("no: ") for decision in report["decisions"])
    assert [decision["ts_ns"] for decision in report["decisions"]] == sorted(d["ts_ns"] for d in report["decisions"])
    # and in processes that order their sets otherwise the deciders say the same
    for hashseed in ("1", "2"):
        code, again = told(recorded, folder=deciders, hashseed=hashseed)
        assert code == 0 and again["modules"] == {name: report["modules"][name] for name in DECIDERS}
        assert again["decisions"] == report["decisions"]


def test_a_person_reads_what_was_decided_and_that_it_is_equal(recorded: Recorded, deciders: Path) -> None:
    answer = recorded.replay(folder=deciders)
    lines = answer.stdout.splitlines()
    for name in DECIDERS:
        (row,) = [line for line in lines if line.strip().startswith(f"{name} ")]
        assert "equal" in row and "DIFFERENT" not in row
    assert any("no: " in line and "needs" in line for line in lines)


def test_a_write_that_was_another_one_is_named_field_by_field(recorded: Recorded, tmp_path: Path) -> None:
    changed: list[str] = []

    def change(records: list[Record]) -> Iterable[Record]:
        for written in records:
            if written.kind is Kind.TURN and not changed:
                content = notes(written)
                for note in content:
                    if type(note) is list and note[0] == "gave":
                        for command in note[1]:
                            if command[1].endswith(":vpin") and not changed:
                                metric = json.loads(command[2])
                                metric["n"] += 1
                                command[2] = msgspec.json.encode(metric)
                                changed.append(command[1])
                yield written._replace(data=msgspec.msgpack.encode(content))
                continue
            yield written

    code, report = told(recorded, folder=recorded.changed(tmp_path / "changed", "analytics", change))
    outcome = report["modules"]["analytics"]
    assert code == 1 and outcome["different"] == 1
    assert outcome["first"]["what"] == f"SET {changed[0]}" and [field[0] for field in outcome["first"]["fields"]] == ["n"]


def test_an_input_that_was_another_one_changes_what_is_decided_and_is_named(recorded: Recorded, tmp_path: Path) -> None:
    changed: list[int] = []

    def change(records: list[Record]) -> Iterable[Record]:
        for number, written in enumerate(records):
            if written.kind is Kind.TURN and number > 100:
                content = notes(written)
                for note in content:
                    if type(note) is list and note[0] == "asked" and note[1][0] == "XREAD" and note[2]:
                        for _, entries in note[2]:
                            for entry in entries:
                                event = msgspec.msgpack.decode(entry[1][1])
                                side, for_vpin = (event[8], event[11]) if event[0] == "Trade" else ("", False)
                                if side == "buy" and for_vpin:  # each: the kill may come between one and what it decides
                                    event[5] += 10_000.0  # its size
                                    entry[1][1] = msgspec.msgpack.encode(event)
                                    changed.append(number)
                yield written._replace(data=msgspec.msgpack.encode(content))
                continue
            yield written

    code, report = told(recorded, folder=recorded.changed(tmp_path / "changed", "analytics", change))
    first = report["modules"]["analytics"]["first"]
    assert changed and code == 1 and first["fields"] and first["what"].startswith(("SET metrics:", "SET checkpoint:")), first


def test_a_turn_that_is_missing_is_noticed(recorded: Recorded, tmp_path: Path) -> None:
    gone: list[int] = []

    def change(records: list[Record]) -> Iterable[Record]:
        """Without one turn that wrote; the log of the process that was killed may be too short to have it."""
        turns = [number for number, record in enumerate(records) if record.kind is Kind.TURN][20:]
        wrote = [n for n in turns if any(type(note) is list and note[0] == "gave" and note[1] for note in notes(records[n]))][:1]
        gone.extend(wrote)
        return [record for number, record in enumerate(records) if number not in wrote]

    code, report = told(recorded, folder=recorded.changed(tmp_path / "changed", "analytics", change))
    assert gone and code == 1 and report["modules"]["analytics"]["first"] is not None


def test_a_flipped_byte_is_named_and_all_before_it_is_equal(recorded: Recorded, tmp_path: Path) -> None:
    folder = recorded.changed(tmp_path / "changed", "signals", lambda records: records)
    (path,) = folder.glob("signals-*")
    content = bytearray(path.read_bytes())
    places = [place for place in index(path) if isinstance(place, BlockPlace)]
    content[places[len(places) // 2].end - 1] ^= 0x10
    path.write_bytes(content)
    code, report = told(recorded, folder=folder)
    outcome = report["modules"]["signals"]
    assert code == 3 and outcome["first"] is None and outcome["equal"] == outcome["turns"] > 0 and outcome["unread"] > 0
    assert len(outcome["holes"]) == 1 and "the checksum of" in outcome["holes"][0] and path.name in outcome["holes"][0]


def test_another_setting_is_named_and_what_it_would_have_decided_differs(recorded: Recorded, deciders: Path) -> None:
    code, report = told(recorded, folder=deciders, ANALYTICS__VPIN_BUCKETS="40")
    assert report["settings"] == [["analytics.vpin_buckets", 50, 40]]
    assert all(outcome["first"] is None for outcome in report["modules"].values())  # those of then decided
    code, report = told(recorded, "--settings", "present", folder=deciders, ANALYTICS__VPIN_BUCKETS="40")
    first = report["modules"]["analytics"]["first"]
    assert code == 1 and first is not None
    assert report["modules"]["signals"]["first"] is None


def test_its_own_pace_is_kept_when_asked_for(recorded: Recorded, deciders: Path) -> None:
    records = [record for path in sorted(recorded.folder.glob("signals-*")) for record in read(path)]
    took = (records[-1].machine_ns - records[0].machine_ns) / 1e9
    began = time.monotonic()
    answer = recorded.replay("--speed", "10", folder=deciders)
    assert time.monotonic() - began >= (took - 1) / 10 > 1
    assert "no: " in answer.stdout


def test_what_is_no_recording_is_refused(recorded: Recorded, tmp_path: Path) -> None:
    assert recorded.replay(folder=tmp_path / "nowhere").returncode == 2
    assert recorded.replay(folder=tmp_path).returncode == 2
    (tmp_path / "signals-2026-11-18-0001.audit").write_bytes(b"rubbish")
    answer = recorded.replay(folder=tmp_path)
    assert answer.returncode == 3 and "Traceback" not in answer.stderr
    listed = recorded.replay("--list", folder=tmp_path)
    assert listed.returncode == 3 and "does not begin as an audit log does" in listed.stdout
