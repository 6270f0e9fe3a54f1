"""Execution and its disk: one that is full, and one that stands still. Openings stop, exits and halts do not, nothing is lost."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.runtime.journal import whole
from alphatrader.runtime.lock import TTL_SECONDS
from tests.support.disk import standing_still, written_to
from tests.support.servers import Servers
from tests.support.trading import Stage, filled, play
from tests.support.waiting import until

FULL = Path("/dev/full")


def journalled(on: Stage) -> set[str]:
    """The orders whose ends, and the orders whose fills, stand on the disk."""
    lines = [line for line in whole(on.folder, Module.EXECUTION) if line is not None]
    ends = {line.order.id for line in lines if line.order is not None and line.order.state != "INTENT"}
    return ends | {f"fill of {line.fill.order_ref}" for line in lines if line.fill is not None}


@pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")
def test_a_full_disk_stops_openings_and_not_exits(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution() as execution:
            await filled(on)
            # when no write of its journal finds space any more
            full = os.open(FULL, os.O_WRONLY)
            with written_to(execution.journal, full):
                os.close(full)
                on.approve("i-2")
                await until(lambda: on.state("i-2") == "EXPIRED", what="refused opening")
                assert "journal" in (on.orders()["i-2"].reason or "")
                on.want("i-1", 0, None)
                await until(lambda: on.held() == 0, what="closed")
                assert len(on.placed(opening=True)) == 1
                await until(lambda: on.state("i-1/exit-1") == "FILLED", what="closing booked")
            # then what it could not take stands on it once there is room again
            assert journalled(on) == {"i-1", "fill of i-1"}
            on.approve("i-3")
            await until(lambda: "i-3" in journalled(on), what="the disk takes lines again")
            assert journalled(on) >= {"i-2", "i-1/exit-1", "fill of i-1/exit-1"}
            assert len(on.placed(opening=True)) == 1

    play(servers, tmp_path, story)


def test_a_disk_that_stands_still_stops_openings_and_neither_halts_nor_exits(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.living() as execution:
            # given a position under its stop and a working entry
            await filled(on)
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
            on.approve("i-2", limit_price=Decimal("3.50"), stop_price=Decimal("2.00"))
            await until(lambda: on.state("i-2") == "WORKING", what="working entry")
            desk = execution.desk
            with standing_still(execution.journal):
                # when the disk takes a line and never answers, then nothing opens, and what is held can be closed
                on.approve("i-3")
                await until(lambda: on.state("i-3") == "EXPIRED", what="too old when the disk was given up")
                on.approve("i-4")
                await until(lambda: on.state("i-4") == "REJECTED", what="refused opening")
                assert "journal" in (on.orders()["i-4"].reason or "")
                on.want("i-1", 0, None)
                await until(lambda: on.held() == 0, what="closed")
                await until(lambda: on.state("i-1/exit-1") == "FILLED", what="closing booked")
                # and a halt ends the entry
                on.halt(True)
                await until(lambda: "i-2" not in on.broker_orders(), what="entry cancelled")
                await until(lambda: on.state("i-2") == "CANCELLED", what="its end")
                # and for longer than a lock lives it is the same executor that tells how it is
                since = on.clock.machine_ns() + int(TTL_SECONDS * 1.5e9)
                health = on.store(Module.OPERATOR)
                await until(lambda: health.get(k.HEALTH.at(module=Module.EXECUTION)).machine_ns > since, what="its heartbeat")
                assert execution.desk is desk
                assert "i-2" not in journalled(on)
            # then what the disk could not take stands on it once it goes on
            on.halt(False)
            on.approve("i-5")
            await until(lambda: "i-5" in journalled(on), what="the disk takes lines again")
            assert journalled(on) >= {"i-1", "fill of i-1", "i-1/exit-1", "fill of i-1/exit-1", "i-2", "i-3"}
            assert [frame["fields"]["orderRef"] for frame in on.placed(opening=True)] == ["i-1", "i-2"]

    play(servers, tmp_path, story)
