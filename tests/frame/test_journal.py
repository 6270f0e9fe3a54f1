"""The money journal: whole lines come back, torn ones are passed over and swallow nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from alphatrader.contract.modules import Module
from alphatrader.runtime.journal import FILES, Journal, Line, whole
from tests.core.test_orders_book import fill, record
from tests.support.disk import standing_still
from tests.support.waiting import PATIENCE_SECONDS


def test_a_torn_line_loses_only_itself(tmp_path: Path) -> None:
    asyncio.run(torn(tmp_path))


async def torn(tmp_path: Path) -> None:
    # given a journal whose last line was cut off by a power loss
    journal = Journal(tmp_path)
    await journal.append([Line("order", 10, order=record("i-1")), Line("fill", 20, fill=fill("1", "i-1", "BUY", 2, 1))])
    journal.close()
    path = tmp_path / FILES[Module.EXECUTION]
    path.write_bytes(path.read_bytes()[:-20])
    # when it is opened and written again
    journal = Journal(tmp_path)
    await journal.append([Line("order", 30, order=record("i-2"))])
    # then the whole lines are there, in order, from the time asked for
    assert [line.order.id for line in journal.tail(0) if line.order] == ["i-1", "i-2"]
    assert [line.machine_ns for line in journal.tail(15)] == [30]
    assert path.stat().st_mode & 0o077 == 0
    journal.close()
    # and a reader of all of it is told of the one that is lost
    assert [line.machine_ns if line else None for line in whole(tmp_path, Module.EXECUTION)] == [10, None, 30]


def test_there_is_nothing_in_a_journal_that_was_never_written(tmp_path: Path) -> None:
    assert list(whole(tmp_path, Module.RISK)) == []


def test_a_disk_that_stands_still_counts_as_one_that_refuses_until_it_answers(tmp_path: Path) -> None:
    async def story() -> None:
        journal = Journal(tmp_path)
        with standing_still(journal):
            with pytest.raises(OSError, match=r"journal.jsonl: the disk has not taken a line"):
                await journal.append([Line("order", 10, order=record("i-1"))])
            # who comes now does not wait as long again
            with pytest.raises(OSError, match="has not answered"):
                await journal.append([Line("order", 20, order=record("i-2"))])
        # when it goes on, it takes lines as before
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await appended(journal, Line("order", 30, order=record("i-3"))):
                await asyncio.sleep(0.01)
        journal.close()
        assert [line and line.machine_ns for line in whole(tmp_path, Module.EXECUTION)] == [30]

    asyncio.run(story())


async def appended(journal: Journal, line: Line) -> bool:
    try:
        await journal.append([line])
    except OSError:
        return False
    return True
