"""`global:risk:*` on real servers: computed of what is held, or said for want of what; and never in the way of the lease."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import Bar, Bars
from alphatrader.contract.messages.metrics import Correlation
from alphatrader.contract.modules import Module
from alphatrader.streams.risk import RiskManager
from tests.core.test_positions_exits import held
from tests.support.books import FENCE, Floor, floor
from tests.support.holdings import NEXT_WEEK, SPY
from tests.support.servers import Servers
from tests.support.waiting import until

DAILY_VOL = 0.01


def play(servers: Servers, story: Any, **limits: Any) -> None:
    async def run() -> None:
        async with floor(servers, risk=replace(servers.settings.risk, **limits)) as on:
            await story(on)

    asyncio.run(run())


def hold(on: Floor) -> None:
    """A call on SPY and a put on QQQ, with all that their measures need."""
    for intent, contract in {"i-1": SPY, "i-2": NEXT_WEEK}.items():
        position = replace(held(quantity=2), id=intent, symbol=contract.symbol, contract=contract)
        on.say(Module.POSITIONS, (k.POSITIONS.at(symbol=contract.symbol, id=intent), position))
        sign = 1 if contract.right == "C" else -1
        on.quote(contract, 3.9, 4.1, under_price=contract.strike, implied_vol=0.2, delta=0.5 * sign)
        closes = [100 * math.exp(DAILY_VOL * (day % 2)) for day in range(60)]
        bars = tuple(Bar(day, c, c, c, c, 1e6, c, 1) for day, c in enumerate(closes))
        on.say(Module.IBKR, (k.MARKET_DAILY.at(symbol=contract.symbol), Bars(contract.symbol, 0, 86_400, bars)))
    matrix = Correlation(1, 1, ("SPY", "QQQ"), ((1.0, 0.9), (0.9, 1.0)), 100, None)
    on.say(Module.DISCOVERY, (k.DISCOVERED_CORRELATION_MATRIX.at(), matrix))


def told(on: Floor, key: Any) -> Any:
    return on.see.get(key.at())


def test_the_book_is_measured(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        hold(on)
        async with on.running(RiskManager):
            at_risk = await until(lambda: (m := told(on, k.RISK_VAR)) and m.value is not None and m, what="value at risk")
            # the two bets oppose one another; no more than all that was paid can be lost
            assert 0 < at_risk.value <= 2 * 2 * 100 * 4.0
            alike = told(on, k.RISK_CORRELATION)
            assert alike.value == pytest.approx(-0.9) and alike.reason is None

    play(servers, story)


def test_without_a_position_nothing_is_at_risk_and_nothing_is_alike(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        async with on.running(RiskManager):
            at_risk = await until(lambda: told(on, k.RISK_VAR), what="value at risk")
            assert at_risk.value == 0.0
            assert "0 of two positions" in told(on, k.RISK_CORRELATION).reason

    play(servers, story)


@pytest.mark.parametrize(
    ("lacks", "says"),
    [
        ("quote", "SPY261118C00660000 has no quote"),
        ("delta", "the quote of SPY261118C00660000 has no implied volatility, delta"),
        ("days", "SPY: 0 daily returns"),
        ("matrix", "no correlation of"),
        ("a row of the matrix", "not one row and column a symbol"),
    ],
)
def test_what_is_missing_is_named_and_the_lease_lives(servers: Servers, lacks: str, says: str) -> None:
    async def story(on: Floor) -> None:
        hold(on)
        drop = {"quote": k.QUOTES.at(con_id=7), "days": k.MARKET_DAILY.at(symbol="SPY")}
        if lacks in drop:
            batch = on.store(Module.IBKR).batch()
            batch.drop(drop[lacks])
            on.store(Module.IBKR).commit(batch)
        elif lacks == "delta":
            on.quote(SPY, 3.9, 4.1, under_price=660.0)
        elif lacks == "a row of the matrix":
            ragged = Correlation(1, 1, ("SPY", "QQQ"), ((1.0, 0.9),), 100, None)
            on.say(Module.DISCOVERY, (k.DISCOVERED_CORRELATION_MATRIX.at(), ragged))
        else:
            batch = on.store(Module.DISCOVERY).batch()
            batch.drop(k.DISCOVERED_CORRELATION_MATRIX.at())
            on.store(Module.DISCOVERY).commit(batch)
        async with on.running(RiskManager):
            at_risk = await until(lambda: told(on, k.RISK_VAR), what="value at risk")
            assert at_risk.value is None and says in at_risk.reason
            await until(lambda: (lease := on.see.get(k.LEASE.at())) and lease.granted, what="lease")

    play(servers, story)


def test_what_wins_and_loses_together_is_limited_and_what_it_is_the_matrix_tells(servers: Servers) -> None:
    async def story(on: Floor) -> None:
        # given that a trade of 800 USD fits into what one bet may cost, and two do not
        matrix = Correlation(1, 1, ("SPY", "QQQ", "IWM"), ((1.0, 0.2, 0.9), (0.2, 1.0, 0.2), (0.9, 0.2, 1.0)), 100, None)
        on.say(Module.DISCOVERY, (k.DISCOVERED_CORRELATION_MATRIX.at(), matrix))
        async with on.running(RiskManager) as risk:
            await until(lambda: (lease := on.see.get(k.LEASE.at())) and lease.granted, what="lease")
            await until(lambda: risk._measures.correlations, what="the matrix")
            # when SPY is bought, and then what moves with it, and what does not
            on.propose(on.signal("s-1", "SPY"), on.signal("s-2", "IWM"), on.signal("s-3", "QQQ"))
            await until(lambda: len(on.approvals()) == 3, what="verdicts")
            # then only what moves with it is refused, with the values
            assert on.approved() == {"s-1", "s-3"}
            assert on.approvals()["s-2"].reason.startswith(
                "alike premium: 1600.00 USD of 1000.00 USD in what wins and loses as IWM"
            )
        # and a restart forgets no place: what was bought before counts on
        async with on.running(RiskManager, fence=FENCE + 1):
            await until(lambda: (lease := on.see.get(k.LEASE.at())) and lease.granted, what="lease")
            on.propose(on.signal("s-4", "SPY"))
            await until(lambda: "s-4" in on.approvals(), what="verdict")
            assert on.approvals()["s-4"].reason.startswith("alike premium: ")

    play(servers, story, max_alike_premium_share=0.01)
