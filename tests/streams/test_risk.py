"""RiskManager on real servers: verdicts, places, the lease, the latch, and what a restart must not forget."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.messages.positions import ClosedTrade, PositionEvent
from alphatrader.contract.messages.risk import Lease, RiskState
from alphatrader.contract.modules import Module
from alphatrader.runtime.clock import exchange_instant
from alphatrader.streams.risk import RiskManager
from tests.core.test_positions_exits import held
from tests.support.books import FENCE, Floor, floor
from tests.support.holdings import SPY, TODAY, order
from tests.support.servers import Servers
from tests.support.waiting import until

D = Decimal


def play(servers: Servers, story: Any, *, limits: dict[str, Any] | None = None, **stage: Any) -> None:
    async def run() -> None:
        risk = replace(servers.settings.risk, **({"lease_renew_seconds": 0.2} | (limits or {})))
        async with floor(servers, risk=risk, **stage) as on:
            await story(on)

    asyncio.run(run())


def lease(on: Floor) -> Lease | None:
    found: Lease | None = on.see.get(k.LEASE.at())
    return found


def granted(on: Floor) -> bool:
    now = lease(on)
    return now is not None and now.granted


def refused_lease(on: Floor, reason: str) -> bool:
    now = lease(on)
    return now is not None and not now.granted and reason in (now.reason or "")


def state(on: Floor) -> RiskState:
    found: RiskState = on.see.get(k.RISK_STATE.at())
    return found


def close(on: Floor, intent_id: str, pnl: str) -> None:
    """As positions says that a position closed, in one MULTI with its trade."""
    now_ns = on.clock.market_ns()
    closed = replace(held(quantity=0, status="closed", closed_ns=now_ns, realized=D(pnl), opened_quantity=2), id=intent_id)
    trade = ClosedTrade(
        intent_id, "0DTE", "SPY", SPY, 2, D(4), D(3), D(1), D(pnl), None, None, now_ns, now_ns, on.session, "stop"
    )
    store = on.store(Module.POSITIONS)
    batch = store.batch()
    batch.put_field(k.LEDGER_TRADES.at(), intent_id, trade)
    batch.append(k.EVENTS_POSITIONS.at(), PositionEvent("closed", closed, now_ns))
    store.commit(batch)


def test_a_signal_is_approved_once_and_holds_a_place_until_its_end(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(RiskManager):
            await until(lambda: granted(on), what="lease")
            signal = on.signal("s-1")
            on.propose(signal)
            await until(lambda: on.approvals(), what="verdict")
            approval = on.approvals()["s-1"]
            assert approval.approved, approval.reason
            assert (approval.halt_epoch, approval.fence) == (on.epoch, FENCE)
            assert on.clock.machine_ns() - approval.machine_ns < 1_000_000_000
            assert on.see.field(k.LEDGER_APPROVALS.at(), "s-1") == approval
            assert list(state(on).reservations) == ["s-1"]
            # when the same signal comes again, then nothing more is said of it (the stage fails on two verdicts)
            on.propose(signal, on.signal("s-2", machine_ns=on.clock.machine_ns() - 6_000_000_000))
            await until(lambda: "s-2" in on.approvals(), what="the next verdict")
            assert on.approvals()["s-2"].reason.startswith("signal age: 6")
            # when the broker confirms the end without a fill, then the place is free
            on.order(order("s-1", "CANCELLED"))
            await until(lambda: not state(on).reservations, what="place freed")

    play(servers, story)


def test_twenty_signals_at_once_get_five_places_and_two_a_symbol(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(RiskManager):
            await until(lambda: granted(on), what="lease")
            symbols = ["SPY"] * 10 + ["QQQ", "IWM"] * 5
            for number, symbol in enumerate(symbols):
                on.propose(on.signal(f"s-{number}", symbol))
            await until(lambda: len(on.approvals()) == 20, what="verdicts")
            by_symbol = Counter(on.approvals()[s].symbol for s in on.approved())
            assert sum(by_symbol.values()) == 5 and max(by_symbol.values()) == 2

    play(servers, story)


def test_a_filled_order_holds_its_place_until_the_position_is_closed(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(RiskManager):
            await until(lambda: granted(on), what="lease")
            on.propose(on.signal("s-1"), on.signal("s-2"))
            await until(lambda: on.approved() == {"s-1", "s-2"}, what="approvals")
            on.order(order("s-1", "FILLED", filled=2))
            on.order(order("s-2", "UNKNOWN"))
            # an unknown order takes the lease away and still holds its place
            await until(lambda: refused_lease(on, "unknown orders: 1 of 0 allowed: s-2"), what="lease refused")
            on.propose(on.signal("s-3"))
            await until(lambda: "s-3" in on.approvals(), what="verdict")
            assert not on.approvals()["s-3"].approved
            on.order(order("s-2", "CANCELLED"))
            await until(lambda: list(state(on).reservations) == ["s-1"] and granted(on), what="one place")
            close(on, "s-1", "-12.50")
            await until(lambda: not state(on).reservations, what="no place")
            assert state(on).consecutive_losses == 1

    play(servers, story)


def test_an_approval_without_an_order_frees_its_place(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(RiskManager):
            await until(lambda: granted(on), what="lease")
            on.propose(on.signal("s-1"))
            await until(lambda: state(on).reservations, what="reserved")
            await until(lambda: not state(on).reservations, limit=60.0, what="unclaimed place freed")

    play(servers, story, limits={"unclaimed_seconds": 1.5})


def test_the_lease_follows_what_is_known(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(RiskManager):
            # nothing was ever said: no account, no positions
            await until(lambda: refused_lease(on, "account"), what="no lease")
            on.account()
            await until(lambda: refused_lease(on, "positions"), what="no lease")
            on.book(reconciled=False)
            await until(lambda: refused_lease(on, "not reconciled"), what="no lease")
            on.well = True
            await until(lambda: granted(on), what="lease")
            now = lease(on)
            assert now is not None and (now.halt_epoch, now.fence) == (on.epoch, FENCE)
            assert 0 < (on.see.ttl_ms(k.LEASE.at()) or 0) <= 3000
            # when positions fall silent, then the lease goes
            on.well = False
            await until(lambda: refused_lease(on, "positions"), limit=60.0, what="stale positions")
        # and a risk that leaves takes its permission along
        assert refused_lease(on, "stopping")

    play(servers, story, well=False, limits={"max_positions_age_seconds": 1.0})


def test_a_missing_halt_is_a_halt(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(RiskManager):
            await until(lambda: granted(on), what="lease")
            batch = on.store(Module.EMERGENCY).batch()
            batch.drop(k.HALT.at())
            on.store(Module.EMERGENCY).commit(batch)
            await until(lambda: refused_lease(on, "global:halt is missing"), what="halted")
            on.propose(on.signal("s-1"))
            await until(lambda: on.approvals(), what="verdict")
            assert not on.approved()

    play(servers, story)


def test_a_late_write_of_an_older_halt_lifts_nothing(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(RiskManager):
            await until(lambda: granted(on), what="lease")
            stood = on.see.get(k.HALT.at())
            on.halt(True)
            await until(lambda: refused_lease(on, "halted by"), what="halted")
            # when what stood before comes once more, from a connection that was thought dead
            on.say(Module.EMERGENCY, (k.HALT.at(), stood))
            on.propose(on.signal("s-1"))
            await until(lambda: on.approvals(), what="verdict")
            assert on.approvals()["s-1"].reason.startswith("halt: halted by")
            # and a true resume, of a newer epoch, does lift it
            on.halt(False)
            await until(lambda: granted(on), what="lease after the resume")

    play(servers, story)


@pytest.mark.parametrize("by", [Module.DASHBOARD, Module.TELEGRAM, Module.CLI, Module.WATCHDOG])
def test_a_halt_request_is_obeyed_before_it_is_recorded_and_over_a_restart(servers: Servers, by: Module) -> None:
    async def story(on: Floor) -> None:
        async with on.running(RiskManager):
            await until(lambda: granted(on), what="lease")
            asked_ns = on.clock.machine_ns()
            on.request("halt", by)
            await until(lambda: refused_lease(on, "stopped by the operator"), what="lease refused")
            assert on.clock.machine_ns() - asked_ns < 500_000_000
        async with on.running(RiskManager, fence=FENCE + 1):
            await until(lambda: refused_lease(on, "stopped by the operator"), what="still stopped")
            on.propose(on.signal("s-1"))
            await until(lambda: on.approvals(), what="verdict")
            assert not on.approved()
            on.halt(True)
            await until(lambda: state(on).stop is not None and state(on).stop.recorded, what="recorded")  # type: ignore[union-attr]
            on.halt(False)
            await until(lambda: granted(on), what="lease after the resume")
            assert lease(on).halt_epoch == on.epoch  # type: ignore[union-attr]

    play(servers, story)


def test_the_daily_loss_latches_asks_once_and_survives_restart_and_resume(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(RiskManager):
            await until(lambda: granted(on), what="lease")
            on.realized = D(-2000)
            on.book()
            await until(lambda: refused_lease(on, "latched until the next session: daily loss: 2000.00 USD"), what="latch")
            requests = on.see.latest(k.CONTROL.at(module=Module.RISK), 10)
            assert [(r.kind, r.by) for r in requests] == [("halt", "daily loss limit")]
            # emergency records it, a person resumes, the loss is made good: the latch stays
            on.halt(True)
            on.halt(False)
            on.realized = D(0)
            on.book()
        async with on.running(RiskManager, fence=FENCE + 1):
            await until(lambda: refused_lease(on, "latched until"), what="latch after restart")
            on.propose(on.signal("s-1"))
            await until(lambda: on.approvals(), what="verdict")
            assert on.approvals()["s-1"].reason.startswith("latch:")
            assert len(on.see.latest(k.CONTROL.at(module=Module.RISK), 10)) == 1

    play(servers, story)


def test_a_mark_that_was_wrong_for_a_moment_refuses_and_does_not_end_the_day(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(on: Floor) -> None:
        async with on.running(RiskManager):
            await until(lambda: granted(on), what="lease")
            # when the account is worth a tenth less, for a shorter time than latches
            monkeypatch.setattr("alphatrader.streams.risk.manager.STANDS_SECONDS", 60.0)
            on.equity = D(89_000)
            await until(lambda: state(on).limits["drawdown"].startswith("11.00%"), what="fallen")
            on.propose(on.signal("s-1"))
            await until(lambda: "s-1" in on.approvals(), what="verdict")
            assert on.approvals()["s-1"].reason.startswith("drawdown: 11.00%")
            on.equity = D(100_000)
            await until(lambda: state(on).limits["drawdown"].startswith("0.00%"), what="recovered")
            # then nothing is latched, and signals are approved again
            assert state(on).latched is None and on.see.latest(k.CONTROL.at(module=Module.RISK), 10) == []
            on.propose(on.signal("s-2"))
            await until(lambda: "s-2" in on.approvals(), what="verdict")
            assert on.approvals()["s-2"].approved
            # and where it stands, it latches
            monkeypatch.setattr("alphatrader.streams.risk.manager.STANDS_SECONDS", 0.5)
            on.equity = D(89_000)
            await until(lambda: refused_lease(on, "drawdown: 11.00%"), what="latch")

    play(servers, story)


def test_three_losses_in_a_row_latch_and_the_next_session_clears_them(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(RiskManager):
            await until(lambda: granted(on), what="lease")
            for number in range(2):
                close(on, f"t-{number}", "-10")
            await until(lambda: state(on).consecutive_losses == 2, what="two losses")
        # a restart forgets none of them
        async with on.running(RiskManager, fence=FENCE + 1):
            close(on, "t-3", "-10")
            await until(lambda: refused_lease(on, "consecutive losses: 3 of 3"), what="latch")

    async def next_day(on: Floor) -> None:
        on.session = "2026-11-19"
        on.book()
        async with on.running(RiskManager, fence=FENCE + 2):
            await until(lambda: granted(on), what="lease of the next session")
            assert state(on).consecutive_losses == 0 and state(on).latched is None

    play(servers, story)
    tomorrow = exchange_instant(TODAY.replace(day=19), "09:30")
    play(servers, next_day, at_ns=tomorrow)


def test_before_the_next_open_the_latch_still_stands(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(RiskManager):
            await until(lambda: granted(on), what="lease")
            on.equity = D(90_000)
            await until(lambda: refused_lease(on, "drawdown: 10.00%"), what="latch")

    async def early(on: Floor) -> None:
        async with on.running(RiskManager, fence=FENCE + 1):
            await until(lambda: lease(on) and lease(on).fence == FENCE + 1, what="lease")  # type: ignore[union-attr]
            assert refused_lease(on, "drawdown")

    play(servers, story)
    play(servers, early, at_ns=exchange_instant(TODAY.replace(day=19), "09:29"))


def test_a_signal_of_an_instance_that_lost_its_lock_is_passed_over(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(RiskManager) as risk:
            await until(lambda: granted(on), what="lease")
            on.propose(on.signal("s-1", fence=9), on.signal("s-2", fence=8), on.signal("s-3", fence=9))
            await until(lambda: "s-3" in on.approvals(), what="verdicts")
            assert set(on.approvals()) == {"s-1", "s-3"}
            assert risk.health._counts["signals of an old instance"] == 1

    play(servers, story)
