"""An afternoon at ten times its speed: half an hour of market time, with gateway faults, and everything held."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from alphatrader.contract import keys as k
from alphatrader.runtime.clock import SECOND, last_known_clock
from tests.flow.processes import of_system
from tests.flow.system import system_in, wait_for

pytestmark = pytest.mark.soak
MARKET_SECONDS = 1800
MOST_GROWTH = 1.6
"""Memory of a process at the end over what it had after two minutes."""


def test_half_an_hour_at_ten_times_speed(tmp_path: Path) -> None:
    with system_in(tmp_path, SANDBOX__SPEED="10") as system:
        system.start()
        wait_for("trading", lambda: system.ready("execution") and system.ready("signals"), 90)
        # The sandbox's own clock tells the time: quotes stand still while the gateway has lost its link.
        clock = last_known_clock(system.data, "sandbox")
        began = clock.market_ns()

        def at(seconds: float) -> bool:
            return clock.market_ns() - began >= seconds * SECOND

        wait_for("five minutes", lambda: at(300), 120)
        memory = {process.pid: process.memory_info().rss for process in of_system(tmp_path)}
        for minute, fault in ((600, {"do": "drop"}), (900, {"do": "lost"}), (960, {"do": "restored", "data_lost": True})):
            wait_for(f"minute {minute / 60:g}", lambda minute=minute: at(minute), 120)
            system.gateway_fault(**fault)
        wait_for("half an hour", lambda: at(MARKET_SECONDS), 240)
        wait_for("SPY is quoted after all of it", lambda: system.store().get(k.MARKET_LAST.at(symbol="SPY")), 30)
        grown = [
            f"{' '.join(p.cmdline()[-2:])}: {memory[p.pid] >> 20} -> {p.memory_info().rss >> 20} MB"
            for p in of_system(tmp_path)
            if p.pid in memory and p.memory_info().rss > memory[p.pid] * MOST_GROWTH and p.memory_info().rss > 150 << 20
        ]
        assert grown == []
        trades = system.store().length(k.LEDGER_TRADES.at())
        assert system.command("halt", "--reason", "end of the soak").returncode == 0
        wait_for("nothing is on its way", lambda: not list(system.store().scan(k.ORDERS_PENDING)), 60)
        system.check()
        sys.stdout.write(
            f"HELD  half an hour at 10x with drops and an outage: {trades} closed trades, no process grew past {MOST_GROWTH}x\n"
        )
