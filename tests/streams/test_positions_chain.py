"""Risk, execution and positions together against the stand-in gateway: from a signal to a closed trade, equal to the broker's."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.positions import Position
from alphatrader.contract.messages.signals import Signal, SignalEvent
from alphatrader.contract.modules import Module
from alphatrader.runtime.module import StreamModule
from alphatrader.streams.positions import PositionManager
from alphatrader.streams.risk import RiskManager
from tests.support.holdings import signal
from tests.support.modules import running_module
from tests.support.servers import Servers
from tests.support.trading import Stage, play, refs_of, stage
from tests.support.waiting import until

RISK_FENCE = 3


def running(on: Stage, kind: type[StreamModule], fence: int) -> AbstractAsyncContextManager[Any]:
    return running_module(kind(on.context(kind.name)), fence=fence)


def propose(on: Stage, signal_id: str, contract: OptionRef | None = None, quantity: int = 3) -> None:
    """Contracts at the ask of 4.05, stop 3.00, targets out of the day's reach."""
    now_ns = on.clock.market_ns()
    one: Signal = signal(
        signal_id,
        contract=contract or on.contract,
        strategy="14DTE",
        quantity=quantity,
        entry=4.05,
        targets=(20.0, 30.0, 40.0),
        ts_ns=now_ns,
        machine_ns=on.clock.machine_ns(),
        expires_ns=now_ns + 60 * 10**9,
    )
    batch = on.store(Module.SIGNALS).batch()
    batch.append(k.EVENTS_SIGNALS.at(), SignalEvent("new", one))
    on.store(Module.SIGNALS).commit(batch)


def test_a_signal_becomes_a_trade_whose_result_is_the_brokers_to_the_cent(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            stage(servers, tmp_path) as on,
            running(on, RiskManager, RISK_FENCE),
            on.execution(),
            running(on, PositionManager, 2),
        ):
            on.leased = False  # risk itself keeps the lease
            see = on.store(Module.OPERATOR)

            def held() -> Position | None:
                found: Position | None = see.get(k.POSITIONS.at(symbol="SPY", id="s-1"))
                return found

            def lease_granted() -> bool:
                lease = see.get(k.LEASE.at())
                return lease is not None and lease.granted

            def ready() -> bool:
                books = see.get(k.RISK_STATE.at())
                return lease_granted() and books is not None and books.opening_equity is not None

            # given all is known, when a signal comes, then it is bought and protected
            await until(ready, what="lease")
            propose(on, "s-1")
            await until(lambda: (p := held()) and p.quantity == 3 and p.unrealized is not None, what="position")
            await until(lambda: on.state("s-1/stop") == "WORKING", what="protection")
            opening = see.get(k.RISK_STATE.at()).opening_equity
            # when the gain is 1.2 R, then the stop at the broker follows: half of the gain is kept
            on.quote(5.26, 5.36)
            await until(lambda: on.orders()["s-1/stop"].stop_price == Decimal("4.68"), what="trailed stop")
            # when the market falls through it, then the broker sells and the trade is closed
            on.quote(4.50, 4.60)
            trade = await until(lambda: see.fields(k.LEDGER_TRADES.at()).get("s-1"), what="trade")
            assert trade.reason == "stop" and trade.quantity == 3 and trade.commissions > 0
            # and what we realized is what the broker's account changed by
            await until(
                lambda: see.get(k.RISK_STATE.at()).equity - opening == see.fields(k.LEDGER_TRADES.at())["s-1"].pnl,
                what="equity moved by the trade's result",
            )
            await until(lambda: not see.get(k.RISK_STATE.at()).reservations, what="place freed")
            summary = see.get(k.POSITIONS_SUMMARY.at())
            assert on.held() == 0 and summary.open == 0 and summary.reconciled

    asyncio.run(story())


def test_twenty_signals_at_once_become_five_positions_at_the_broker_and_two_a_symbol(servers: Servers, tmp_path: Path) -> None:
    """Row 25, to the wire: whatever is proposed at one instant, five opening orders leave, and never a sixth."""

    async def story(on: Stage) -> None:
        # Five brackets in a row take a busy machine over a second; that old approvals are refused is told elsewhere.
        on.settings = replace(on.settings, risk=replace(on.settings.risk, approval_seconds=15.0))
        for symbol in ("QQQ", "AAPL", "MSFT", "NVDA"):
            made = on.gateway.market.option_of(symbol)
            on.others.append(OptionRef(symbol, made.expiry, made.strike, "C", made.con_id))
        async with running(on, RiskManager, RISK_FENCE), on.execution(), running(on, PositionManager, 2):
            on.leased = False
            see = on.store(Module.OPERATOR)

            def ready() -> bool:
                lease, books = see.get(k.LEASE.at()), see.get(k.RISK_STATE.at())
                return bool(lease and lease.granted and books and books.opening_equity)

            await until(ready, what="lease")
            # given four signals of each of five symbols, all at once
            for number in range(4):
                for contract in (on.contract, *on.others):
                    propose(on, f"s-{contract.symbol}-{number}", contract, quantity=1)
            # when risk has judged them all and execution has acted
            verdicts = await until(lambda: len(v := see.fields(k.LEDGER_APPROVALS.at())) == 20 and v, what="twenty verdicts")
            approved = {intent for intent, verdict in verdicts.items() if verdict.approved}
            await until(lambda: all(on.state(intent) == "FILLED" for intent in approved), what="filled")
            await until(lambda: all(on.state(f"{intent}/stop") == "WORKING" for intent in approved), what="protected")
            # then five opening orders have left, each approved, at most two of a symbol, and each is held and protected
            sent = refs_of(on.placed(opening=True))
            assert sorted(sent) == sorted(approved)
            assert len(sent) == 5
            assert max(Counter(ref.split("-")[1] for ref in sent).values()) <= 2
            assert {p.quantity for p in on.gateway.gateway.ledger.positions.values()} <= {1, 2}
            assert sum(p.quantity for p in on.gateway.gateway.ledger.positions.values()) == 5
            # and what comes now is refused by name
            propose(on, "s-late", on.others[0], quantity=1)
            late = await until(lambda: see.field(k.LEDGER_APPROVALS.at(), "s-late"), what="verdict")
            assert not late.approved
            assert "5 of 5" in late.reason

    play(servers, tmp_path, story)
