"""The audit log's file: a hole is noticed and named wherever it is, and costs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import msgpack

from alphatrader.runtime.audit_file import LABEL_BYTES, SENT, STEP, Hole, Kind, Record, Row, Step, block, index, read
from tests.support.audit import label, whole

PIECES = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from([kind for kind in Kind if kind not in (Kind.CHECKPOINT, Kind.STEP, Kind.HOLE)]),
            st.binary(max_size=60),
        ),
        min_size=1,
        max_size=5,
    ),
    min_size=1,
    max_size=6,
)


def written(folder: Path, pieces: list[list[tuple[Kind, bytes]]]) -> tuple[Path, list[tuple[int, list[Record]]]]:
    """A log of these blocks: (where each ends, its records)."""
    path, blocks = folder / "sample.audit", []
    content = label()
    for number, piece in enumerate(pieces):
        raw = [Row(list(Kind).index(kind), 10**18 + at, data) for at, (kind, data) in enumerate(piece)]
        content += block(number, raw, 9 * 10**17, 2.0)
        records = [Record(kind, 10**18 + at, 9 * 10**17 + 2 * at, data) for at, (kind, data) in enumerate(piece)]
        blocks.append((len(content), records))
    path.write_bytes(content)
    return path, blocks


def records_of(blocks: list[tuple[int, list[Record]]], keep: Callable[[int, int], bool]) -> list[Record]:
    """Of the blocks that `keep` says by their begin and end."""
    begins = [LABEL_BYTES, *(end for end, _ in blocks)]
    return [record for begin, (end, records) in zip(begins, blocks, strict=False) if keep(begin, end) for record in records]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES)
def test_a_log_cut_anywhere_in_its_last_block_reads_up_to_it_and_names_the_hole(
    tmp_path: Path, pieces: list[list[tuple[Kind, bytes]]]
) -> None:
    path, blocks = written(tmp_path, pieces)
    content = path.read_bytes()
    ends = [LABEL_BYTES, *(end for end, _ in blocks)]
    for cut in range(ends[-2], ends[-1] + 1):  # at every byte of the last block
        path.write_bytes(content[:cut])
        found, holes = whole(path)
        assert found == records_of(blocks, lambda _, end: end <= cut)  # noqa: B023 called at once
        named = [f"not whole from byte {ends[-2]} to {cut}: cut in {what}" for what in ("a header", "its content")]
        assert (holes == []) if cut in ends else (len(holes) == 1 and holes[0] in named)
        told = [str(place) for place in index(path) if isinstance(place, Hole)]
        assert told == holes


@pytest.mark.parametrize("cut", range(LABEL_BYTES))
def test_a_log_cut_in_its_first_bytes_holds_nothing_and_says_why(tmp_path: Path, cut: int) -> None:
    path, _ = written(tmp_path, [[(Kind.SENT, b"a")]])
    path.write_bytes(path.read_bytes()[:cut])
    why = "cut in its label" if cut >= 8 else "it does not begin as an audit log does (ATAUDIT5)" if cut else "it is empty"
    assert whole(path) == ([], [f"not whole from byte 0 to {cut}: {why}"])


def test_a_log_of_another_version_is_named_as_one(tmp_path: Path) -> None:
    path, _ = written(tmp_path, [[(Kind.SENT, b"a")]])
    path.write_bytes(b"ATAUDIT2" + path.read_bytes()[8:])
    found, holes = whole(path)
    assert found == [] and "it is of another version (b'ATAUDIT2' where this one reads b'ATAUDIT5')" in holes[0]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES, change=st.integers(1, 255), which=st.integers(0, 5))
def test_one_wrong_byte_anywhere_costs_its_block_and_no_other(
    tmp_path: Path, pieces: list[list[tuple[Kind, bytes]]], change: int, which: int
) -> None:
    path, blocks = written(tmp_path, pieces)
    content = path.read_bytes()
    begins = [LABEL_BYTES, *(end for end, _ in blocks)]
    which %= len(blocks)
    for at in range(begins[which], begins[which + 1]):  # every byte of one block
        path.write_bytes(content[:at] + bytes([content[at] ^ change]) + content[at + 1 :])
        found, holes = whole(path)
        assert found == records_of(blocks, lambda begin, _: begin != begins[which])
        assert len(holes) == 1 and holes[0].startswith(f"not whole from byte {begins[which]} to {begins[which + 1]}: ")


@pytest.mark.parametrize("at", range(8, LABEL_BYTES))
def test_a_wrong_byte_in_its_label_is_a_hole_and_costs_no_block(tmp_path: Path, at: int) -> None:
    path, blocks = written(tmp_path, [[(Kind.SENT, b"a")], [(Kind.SENT, b"b")]])
    content = path.read_bytes()
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    found, holes = whole(path)
    assert found == records_of(blocks, lambda *_: True)
    assert holes == [f"not whole from byte 0 to {LABEL_BYTES}: the checksum of its label is wrong"]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rubbish=st.binary(max_size=300), where=st.integers(0, 10**6))
def test_rubbish_is_read_without_an_error_and_named(tmp_path: Path, rubbish: bytes, where: int) -> None:
    path, _ = written(tmp_path, [[(Kind.SENT, b"a")], [(Kind.SENT, b"ATB3")], [(Kind.SENT, b"c")]])
    content = path.read_bytes()
    where %= len(content) + 1
    path.write_bytes(content[:where] + rubbish + content[where:])
    found, holes = whole(path)
    assert [record for record in found if record.data in (b"a", b"ATB3", b"c")] == found
    assert bool(holes) == (len(rubbish) > 0)


def test_a_missing_block_is_noticed_and_the_next_one_read(tmp_path: Path) -> None:
    path, blocks = written(tmp_path, [[(Kind.SENT, b"a")], [(Kind.SENT, b"b")], [(Kind.SENT, b"c")]])
    content = path.read_bytes()
    path.write_bytes(content[: blocks[0][0]] + content[blocks[1][0] :])
    found, torn = whole(path)
    assert [record.data for record in found] == [b"a", b"c"] and "block 2 stands where block 1 should" in torn[0]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    read_=st.binary(max_size=60),
    seconds=st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
    later_ns=st.integers(-(10**12), 10**12),
    wrote=st.lists(st.text(max_size=9) | st.integers(0, 2**64 - 1), max_size=6),
)
def test_a_step_is_given_out_as_the_three_records_that_it_is(
    tmp_path: Path, read_: bytes, seconds: tuple[float, float], later_ns: int, wrote: list[object]
) -> None:
    rows = [Step(STEP, 10**18, seconds[0], read_, later_ns, seconds[1], tuple(wrote)), Row(SENT, 10**18, b"after")]
    path = tmp_path / "sample.audit"
    path.write_bytes(label() + block(0, rows, 9 * 10**17, 2.0))
    assert list(read(path)) == [
        Record(Kind.TOLD, 10**18, 9 * 10**17, msgpack.encode([seconds[0]])),
        Record(Kind.RECEIVED, 10**18, 9 * 10**17, read_),
        Record(Kind.TURN, 10**18 + later_ns, 9 * 10**17 + 2 * later_ns, msgpack.encode([seconds[1], True, wrote])),
        Record(Kind.SENT, 10**18, 9 * 10**17, b"after"),
    ]
