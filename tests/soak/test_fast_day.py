"""Half an hour of market time at ten times its speed, with gateway faults: no memory grows, no print is lost, every book's
checksum is right, and everything held. Books and prints are judged by a reader of its own (tests/flow/listener.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphatrader.contract import keys as k
from alphatrader.runtime.clock import SECOND, last_known_clock
from alphatrader.sandbox.market.instruments import EQUITIES
from tests.flow.listener import Listener, compared, lost, truth_prints
from tests.flow.processes import of_system
from tests.flow.system import System, system_in, wait_for
from tests.soak.whole import promise

pytestmark = pytest.mark.soak
MARKET_SECONDS = 1800
MOST_GROWTH = 1.6
"""Memory of a process at the end over what it had after two minutes."""


def test_half_an_hour_at_ten_times_speed(tmp_path: Path) -> None:
    with system_in(tmp_path, SANDBOX__SPEED="10") as system:
        system.start()
        wait_for("trading", lambda: system.ready("execution") and system.ready("signals"), 90)
        # The sandbox's own clock tells the time: quotes stand still while the gateway has lost its link.
        market = system.settings.market
        listener = Listener(system, [*market.equities, *(future.root for future in market.futures)])
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
        listener.stop()
        wait_for("SPY is quoted after all of it", lambda: system.store().get(k.MARKET_LAST.at(symbol="SPY")), 30)
        grown = [
            f"{' '.join(p.cmdline()[-2:])}: {memory[p.pid] >> 20} -> {p.memory_info().rss >> 20} MB"
            for p in of_system(tmp_path)
            if p.pid in memory and p.memory_info().rss > memory[p.pid] * MOST_GROWTH and p.memory_info().rss > 150 << 20
        ]
        assert grown == []
        books, prints = every_print_and_book_is_right(listener, system)
        trades = system.store().length(k.LEDGER_TRADES.at())
        assert system.command("halt", "--reason", "end of the soak").returncode == 0
        wait_for("nothing is on its way", lambda: not list(system.store().scan(k.ORDERS_PENDING)), 60)
        system.check()
        promise(
            f"half an hour at 10x with drops and an outage: {trades} closed trades, no process grew past {MOST_GROWTH}x, "
            f"{books} books of the right checksum, {prints} prints of the truth log, none lost"
        )


def every_print_and_book_is_right(listener: Listener, system: System) -> tuple[int, int]:
    """(books, prints) that were judged."""
    symbol_of = {listing.con_id: listing.symbol for listing in EQUITIES}
    roots = system.store().fields(k.FUTURES.at())
    symbol_of |= {
        month.con_id: root for root, future in roots.items() for month in future.contracts if month.contract_month == future.front
    }
    truth = truth_prints(system.data / "truth.jsonl", symbol_of)
    wrong = {
        symbol: found
        for symbol, heard in listener.heard.items()
        if (found := heard.holes + heard.wrong_checksums + lost(heard, truth[symbol]))
    }
    assert not wrong, "\n".join(f"{symbol}: {len(found)} wrong, first {found[:5]}" for symbol, found in wrong.items())
    books, prints = (sum(map(count, listener.heard.values())) for count in (lambda heard: heard.books, compared))
    assert books > 1_000 and prints > 1_000, f"too little was judged: {books} books, {prints} prints"
    return books, prints
