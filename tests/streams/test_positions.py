"""PositionManager on real servers: bookings, marks, wanted exits, the broker's word, and a restart at any moment."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.positions import ClosedTrade, Position, PositionEvent, PositionsSummary, WantedExit
from alphatrader.contract.modules import Module
from alphatrader.core.risk import verdict
from alphatrader.runtime.clock import exchange_instant
from alphatrader.streams.positions import PositionManager
from tests.core.test_risk_limits import RISK, STAMP, picture
from tests.support.books import Floor, floor
from tests.support.holdings import NEXT_WEEK, SPY, TODAY, broker_position, fill, signal
from tests.support.servers import Servers
from tests.support.waiting import until

D = Decimal


def play(servers: Servers, story: Any, **stage: Any) -> None:
    async def run() -> None:
        sections = {"positions": replace(servers.settings.positions, publish_seconds=0.05, reconcile_seconds=1.0)}
        async with floor(servers, well=False, **(sections | stage)) as on:
            await story(on)

    asyncio.run(run())


def approve(on: Floor, intent_id: str, contract: OptionRef = SPY, quantity: int = 3) -> None:
    """Risk's approval of an intent: entry 4.00, stop 3.00, targets 5, 6 and 8."""
    approval = verdict.decide(picture(), RISK, signal(intent_id, contract=contract, quantity=quantity), STAMP)
    store = on.store(Module.RISK)
    batch = store.batch()
    batch.put_field(k.LEDGER_APPROVALS.at(), intent_id, approval)
    store.commit(batch)


def position(on: Floor, position_id: str = "i-1", symbol: str = "SPY") -> Position | None:
    found: Position | None = on.see.get(k.POSITIONS.at(symbol=symbol, id=position_id))
    return found


def summary(on: Floor) -> PositionsSummary:
    found: PositionsSummary = on.see.get(k.POSITIONS_SUMMARY.at())
    return found


def exit_of(on: Floor, position_id: str = "i-1") -> WantedExit | None:
    found: WantedExit | None = on.see.get(k.EXITS.at(position=position_id))
    return found


def events(on: Floor) -> list[PositionEvent]:
    """Oldest first, marks left out: they are no events."""
    found: list[PositionEvent] = on.see.latest(k.EVENTS_POSITIONS.at(), 100)
    return found[::-1]


def trades(on: Floor) -> dict[str, ClosedTrade]:
    found: dict[str, ClosedTrade] = on.see.fields(k.LEDGER_TRADES.at())
    return found


def status(on: Floor, wanted: str, position_id: str = "i-1", symbol: str = "SPY") -> bool:
    found = position(on, position_id, symbol)
    return found is not None and found.status == wanted


async def keep_quoted(on: Floor, contract: OptionRef, prices: dict[str, float]) -> None:
    """A living feed: its key is renewed, as ibkr does."""
    while True:
        on.quote(contract, prices["bid"], prices["ask"])
        await asyncio.sleep(0.2)


def test_a_position_from_fill_to_close_with_moving_pnl(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        prices = {"bid": 4.00, "ask": 4.10}
        quoting = asyncio.create_task(keep_quoted(on, SPY, prices))
        async with on.running(PositionManager):
            # given an approved intent whose entry fills in two parts
            on.account()
            approve(on, "i-1")
            on.fill(fill("i-1", "BUY", 2, "4.00", key="e1"))
            on.fill(fill("i-1", "BUY", 1, "4.00", key="e2"))
            await until(lambda: (found := position(on)) and found.quantity == 3 and found.unrealized is not None, what="position")
            # then it has its plan, its mark at the mid and its unrealized P&L: 3 * 100 * 0.05 less 1.95 of commissions
            held = position(on)
            assert held is not None and (held.status, held.strategy, held.signal_id) == ("open", "0DTE", "i-1")
            assert (held.stop, held.targets, held.mark, held.unrealized) == (
                D("3.00"),
                (D("5.00"), D("6.00"), D("8.00")),
                D("4.05"),
                D("13.05"),
            )
            assert exit_of(on) is not None and (exit_of(on).hold, exit_of(on).stop, exit_of(on).version) == (3, D("3.00"), 1)  # type: ignore[union-attr]
            assert [w.con_id for w in on.see.get(k.WANTED.at(module=Module.POSITIONS)).contracts] == [7]
            await until(lambda: summary(on).open == 1, what="summary")
            assert on.see.get(k.POSITIONS_COUNT.at()).value == 1
            # when the price moves, the P&L moves; at the first target a third is to go and the stop follows
            prices.update(bid=5.10, ask=5.20)
            await until(lambda: exit_of(on).hold == 2, what="scale out")  # type: ignore[union-attr]
            assert exit_of(on).stop == D("4.57")  # type: ignore[union-attr]
            await until(lambda: on.see.get(k.PNL_UNREALIZED.at()).value == D("343.05"), what="moving P&L")
            # when execution has sold it, then that part is realized
            on.fill(fill("i-1/exit-1", "SELL", 1, "5.10", at=5))
            await until(lambda: on.see.get(k.PNL_REALIZED.at()).value == D("108.70"), what="realized")
            # when the stop at the broker takes the rest, then it is a closed trade
            on.fill(fill("i-1/stop", "SELL", 2, "4.50", at=9))
            await until(lambda: status(on, "closed"), what="closed")
            assert exit_of(on).hold == 0 and exit_of(on).stop is None  # type: ignore[union-attr]
            trade = trades(on)["i-1"]
            assert (trade.pnl, trade.quantity, trade.reason, trade.session) == (D("206.10"), 3, "stop", "2026-11-18")
            assert (trade.confidence, trade.commissions, trade.exit_known) == (80.0, D("3.90"), True)
            kinds = [event.kind for event in events(on)]
            assert kinds[0] == "exit" or kinds[0] == "opened"
            assert kinds.count("opened") == 1 and kinds.count("closed") == 1 and kinds[-1] == "closed"
            await until(lambda: summary(on).open == 0 and summary(on).realized_today == D("206.10"), what="flat")
            assert on.see.get(k.WANTED.at(module=Module.POSITIONS)).contracts == ()
        quoting.cancel()

    play(servers, story)


def test_without_a_fresh_quote_the_mark_is_unknown_not_zero(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(PositionManager):
            on.account()
            approve(on, "i-1")
            on.fill(fill("i-1", "BUY", 1, "4.00"))
            await until(lambda: status(on, "open"), what="position")
            held = position(on)
            assert held is not None and held.mark is None and held.unrealized is None
            assert summary(on).unrealized is None and on.see.get(k.PNL_UNREALIZED.at()).value is None
            # when a quote comes and dies, then the mark goes with it
            on.quote(SPY, 4.2, 4.4)
            await until(lambda: (found := position(on)) and found.mark == D("4.3"), what="mark")
            await until(lambda: (found := position(on)) and found.mark is None, what="mark gone")
            # and a crossed quote marks nothing
            on.quote(SPY, 4.4, 4.2)
            count = summary(on).ts_ns
            await until(lambda: summary(on).ts_ns > count + 200_000_000, what="a later turn")
            assert position(on).mark is None  # type: ignore[union-attr]

    play(servers, story)


def test_after_the_close_only_a_quote_that_decides_marks(servers: Servers) -> None:
    """The next day's loss is counted from the last mark: a quote that was pulled apart for the night must not be it."""

    async def story(on: Floor) -> None:
        async with on.running(PositionManager):
            on.account()
            approve(on, "i-1", NEXT_WEEK)
            on.fill(fill("i-1", "BUY", 3, "4.00", contract=NEXT_WEEK))
            on.quote(NEXT_WEEK, 4.0, 4.1)
            await until(lambda: (held := position(on, symbol="QQQ")) and held.mark == D("4.05"), what="marked")
            assert on.see.get(k.PNL_UNREALIZED.at()).value == D("13.05")
            on.quote(NEXT_WEEK, 0.05, 41.0)
            await until(lambda: (held := position(on, symbol="QQQ")) and held.mark != D("4.05"), what="another mark")
            assert position(on, symbol="QQQ").mark is None and on.see.get(k.PNL_UNREALIZED.at()).value is None  # type: ignore[union-attr]

    play(servers, story, at_ns=exchange_instant(TODAY, "16:05"))


def test_a_stop_follows_a_wide_quote_only_under_its_bid(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(PositionManager):
            on.account()
            approve(on, "i-1")
            on.fill(fill("i-1", "BUY", 3, "4.00"))
            on.quote(SPY, 4.50, 5.70)
            await until(lambda: (wanted := exit_of(on)) and wanted.hold == 2, what="the first target")
            assert exit_of(on).stop == D("3.00")  # type: ignore[union-attr]
            on.quote(SPY, 5.00, 5.20)
            await until(lambda: exit_of(on).stop == D("4.55"), what="the stop")  # type: ignore[union-attr]

    play(servers, story)


def test_a_quote_whose_ask_was_pulled_for_a_moment_moves_no_stop_and_reaches_no_target(servers: Servers) -> None:
    """Its mid stands anywhere: a stop that followed it would sell all at the next true price."""

    async def story(on: Floor) -> None:
        async with on.running(PositionManager):
            on.account()
            approve(on, "i-1")
            on.fill(fill("i-1", "BUY", 3, "4.00"))
            on.quote(SPY, 4.0, 4.1)
            await until(lambda: exit_of(on), what="plan")
            # when the ask jumps to ten times what it was, with the bid where it stood
            on.quote(SPY, 4.0, 41.0)
            await until(lambda: (held := position(on)) and held.mark == D("22.5"), what="marked")
            on.quote(SPY, 4.0, 4.1)
            await until(lambda: (held := position(on)) and held.mark == D("4.05"), what="as before")
            # then stop and targets stand as they were, and the best price is a true one
            held, wanted = position(on), exit_of(on)
            assert held is not None and wanted is not None
            assert (held.stop, held.targets_hit, held.best_mark) == (D("3.00"), 0, D("4.05"))
            assert (wanted.hold, wanted.stop, wanted.version) == (3, D("3.00"), 1)

    play(servers, story)


def test_a_restart_at_any_moment_books_nothing_twice_and_loses_nothing(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        approve(on, "i-1")
        async with on.running(PositionManager):
            on.account()
            on.fill(fill("i-1", "BUY", 3, "4.00"))
            await until(lambda: status(on, "open"), what="position")
            on.quote(SPY, 5.10, 5.20)
            await until(lambda: exit_of(on).hold == 2, what="scale out")  # type: ignore[union-attr]
            before = position(on)
        # while nobody listens, a part is sold, everything is said twice, and one event is lost from the stream
        on.fill(fill("i-1", "BUY", 3, "4.00"))
        store = on.store(Module.EXECUTION)
        batch = store.batch()
        lost = fill("i-1/exit-1", "SELL", 1, "5.00", at=5)
        batch.put_field(k.LEDGER_FILLS.at(), lost.key, lost)
        store.commit(batch)
        async with on.running(PositionManager):
            await until(lambda: position(on).quantity == 2, what="rebuilt")  # type: ignore[union-attr]
            after = position(on)
            assert before is not None and after is not None
            assert (after.stop, after.targets_hit, after.best_mark) == (before.stop, 1, before.best_mark)
            assert after.realized == D("98.70")
            assert exit_of(on).version == 2  # type: ignore[union-attr]
            on.fill(fill("i-1/stop", "SELL", 2, "4.50", at=9))
            await until(lambda: trades(on), what="trade")
        async with on.running(PositionManager):
            on.fill(fill("i-1/stop", "SELL", 2, "4.50", at=9))
            # a commission that comes late corrects the trade and announces no second end
            on.fill(replace(fill("i-1/stop", "SELL", 2, "4.50", at=9), revision=2, exec_id="x.02", commission=D("2.30")))
            await until(lambda: trades(on)["i-1"].pnl == D("195.10"), what="corrected")
            # and while one is awaited the trade says so, until it comes, were it nothing
            unbilled = replace(fill("i-1/stop", "SELL", 2, "4.50", at=9), revision=3, exec_id="x.03", commission=None)
            on.fill(unbilled)
            await until(lambda: not trades(on)["i-1"].commissions_known, what="a bill that is open")
            on.fill(replace(unbilled, commission=D(0), commission_revision=3))
            await until(lambda: trades(on)["i-1"].commissions_known and trades(on)["i-1"].pnl == D("197.40"), what="the bill")
        kinds = [event.kind for event in events(on)]
        assert kinds.count("opened") == 1 and kinds.count("closed") == 1

    play(servers, story)


def test_a_difference_in_flight_is_quiet_and_a_standing_one_is_settled(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(PositionManager) as module:
            # before the broker has spoken nothing is reconciled
            await until(lambda: on.see.get(k.POSITIONS_SUMMARY.at()), what="summary")
            assert not summary(on).reconciled
            on.account()
            await until(lambda: summary(on).reconciled, what="reconciled")
            # given a position at the broker that we know nothing of
            unknown = broker_position(NEXT_WEEK, 2, "250")
            first = on.account(unknown)
            await until(lambda: summary(on).differences, what="named")
            assert summary(on).reconciled
            # when it stands, then it is adopted as external, and we agree again
            while summary(on).reconciled and position(on, "ext-9", "QQQ") is None:
                assert on.clock.machine_ns() - first.machine_ns < 5_000_000_000
                on.account(unknown)
                await asyncio.sleep(0.05)
            await until(lambda: status(on, "external", "ext-9", "QQQ") and summary(on).reconciled, what="adopted")
            held = position(on, "ext-9", "QQQ")
            assert held is not None and (held.quantity, held.average_price, held.strategy) == (2, D("2.5000"), "external")
            assert exit_of(on, "ext-9") is None
            assert module.health._counts["account:adopted"] == 1
        # a restart still knows it
        async with on.running(PositionManager):
            on.account(unknown)
            await until(lambda: summary(on).reconciled and summary(on).open == 1, what="known")
            # when the operator sells it by hand, it is closed by the execution
            on.fill(fill("", "SELL", 2, "3.00", contract=NEXT_WEEK, at=30))
            on.account()
            await until(lambda: status(on, "closed", "ext-9", "QQQ"), what="closed by hand")
            assert trades(on)["ext-9"].reason == "by hand"

    play(servers, story)


def test_a_short_of_anybody_is_named_at_once_and_until_it_is_gone(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(PositionManager) as module:
            # given somebody who sells what is not held
            on.account()
            await until(lambda: on.see.get(k.POSITIONS_SUMMARY.at()) and summary(on).reconciled, what="reconciled")
            on.fill(fill("", "SELL", 2, "3.00", contract=NEXT_WEEK))
            on.account(broker_position(NEXT_WEEK, -2, "300"))
            await until(lambda: summary(on).shorts, what="named")
            assert summary(on).shorts == ("ext-9, conId 9: -2",)
            await until(lambda: "ext-9, conId 9: -2" in (module.health._reason or ""), what="alarm")
            assert module.health._state == "degraded" and exit_of(on, "ext-9") is None
            # when it is bought back, then the alarm ends
            on.fill(fill("", "BUY", 2, "2.00", contract=NEXT_WEEK, at=5))
            on.account()
            await until(lambda: not summary(on).shorts and module.health._state == "ready", what="gone")

    play(servers, story)


def test_an_expired_option_that_the_broker_dropped_is_closed_and_says_so(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        approve(on, "i-1")
        on.fill(fill("i-1", "BUY", 2, "4.00"))
        async with on.running(PositionManager):

            def settled() -> bool:
                on.account()
                return "i-1" in trades(on)

            await until(settled, what="closed at the broker's word")
            trade = trades(on)["i-1"]
            assert trade.pnl == D("-801.30") and not trade.exit_known and trade.reason.startswith("expired")
            assert "not known" in trade.reason
            assert exit_of(on).hold == 0 and exit_of(on).stop is None  # type: ignore[union-attr]
            await until(lambda: summary(on).reconciled, what="reconciled")

    play(servers, story, at_ns=exchange_instant(TODAY, "16:30"))


def test_what_is_no_option_blocks_until_a_person_acts(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        stock = replace(broker_position(SPY, 100), con_id=55, sec_type="STK", local_symbol="SPY", contract=None)
        async with on.running(PositionManager) as module:
            on.account()
            await until(lambda: on.see.get(k.POSITIONS_SUMMARY.at()) and summary(on).reconciled, what="reconciled")

            def alarmed() -> bool:
                on.account(stock)
                return not summary(on).reconciled

            await until(alarmed, what="not reconciled")
            assert "conId 55 (SPY): ours 0, broker 100" in summary(on).differences[0]
            await until(lambda: module.health._state == "degraded", what="degraded")
            on.account()
            await until(lambda: summary(on).reconciled, what="reconciled again")

    play(servers, story)


def test_what_expires_today_is_flat_in_time_also_on_an_early_close(servers: Servers) -> None:
    async def late(on: Floor) -> None:
        approve(on, "i-1")
        on.fill(fill("i-1", "BUY", 2, "4.00"))
        async with on.running(PositionManager):
            await until(lambda: status(on, "closing"), what="closing")
            assert (exit_of(on).hold, exit_of(on).urgency, exit_of(on).stop) == (0, "now", D("3.00"))  # type: ignore[union-attr]
            assert "flat by 15:45" in exit_of(on).reason  # type: ignore[union-attr]

    async def friday(on: Floor) -> None:
        expiring = replace(SPY, expiry="20261127")
        tomorrow = replace(NEXT_WEEK, expiry="20261130")
        for intent_id, contract in (("i-2", expiring), ("i-3", tomorrow)):
            approve(on, intent_id, contract)
            on.fill(fill(intent_id, "BUY", 1, "4.00", contract=contract))
        async with on.running(PositionManager):
            await until(lambda: status(on, "closing", "i-2"), what="closing before 13:00")
            await until(lambda: status(on, "open", "i-3", "QQQ"), what="the other stays")

    play(servers, late, at_ns=exchange_instant(TODAY, "15:45"))
    servers.flush()
    # the Friday after Thanksgiving closes at 13:00: flat by 12:45
    play(servers, friday, at_ns=exchange_instant(TODAY.replace(day=27), "12:45"))


def test_a_closed_position_is_seen_until_its_session_ends(servers: Servers) -> None:
    async def today(on: Floor) -> None:
        approve(on, "i-1")
        async with on.running(PositionManager):
            on.account()
            on.fill(fill("i-1", "BUY", 1, "4.00"))
            on.fill(fill("i-1/target", "SELL", 1, "8.00", at=5))
            await until(lambda: status(on, "closed"), what="closed")
            assert on.see.get(k.PNL_REALIZED.at()).value == D("398.70")

    async def tomorrow(on: Floor) -> None:
        async with on.running(PositionManager):
            await until(lambda: position(on) is None and exit_of(on) is None, what="dropped")
            pnl = on.see.get(k.PNL_REALIZED.at())
            assert (pnl.value, pnl.session) == (D(0), "2026-11-19")
            assert trades(on)["i-1"].pnl == D("398.70")
        before = len(events(on))
        async with on.running(PositionManager):
            await until(lambda: on.see.get(k.POSITIONS_SUMMARY.at()).open == 0, what="a turn")
        assert len(events(on)) == before

    play(servers, today)
    play(servers, tomorrow, at_ns=exchange_instant(TODAY.replace(day=19), "10:00"))


def test_a_bad_fill_is_counted_named_and_stops_nothing(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(PositionManager) as module:
            on.account()
            approve(on, "i-1")
            on.fill(replace(fill("i-1", "BUY", 1, "4.00", key="bad"), price=D("-4")))
            on.fill(fill("i-1", "BUY", 1, "4.00", key="good"))
            await until(lambda: status(on, "open"), what="position")
            assert module.health._counts["refused fills"] == 1

    play(servers, story)
