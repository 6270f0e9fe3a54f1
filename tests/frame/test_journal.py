"""The money journal: whole lines come back, torn ones are passed over and swallow nothing."""

from __future__ import annotations

from pathlib import Path

from alphatrader.runtime.journal import FILE, Journal, Line
from tests.core.test_orders_book import fill, record


def test_a_torn_line_loses_only_itself(tmp_path: Path) -> None:
    # given a journal whose last line was cut off by a power loss
    journal = Journal(tmp_path)
    journal.append([Line("order", 10, order=record("i-1")), Line("fill", 20, fill=fill("1", "i-1", "BUY", 2, 1))])
    journal.close()
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-20])
    # when it is opened and written again
    journal = Journal(tmp_path)
    journal.append([Line("order", 30, order=record("i-2"))])
    # then the whole lines are there, in order, from the time asked for
    assert [line.order.id for line in journal.tail(0) if line.order] == ["i-1", "i-2"]
    assert [line.machine_ns for line in journal.tail(15)] == [30]
    assert path.stat().st_mode & 0o077 == 0
    journal.close()
