"""What the broker ends with a code is asked for again, on the same connection, and gives data again; nothing else is touched."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alphatrader.clients.ibkr.subscriptions import Kind, Subscription
from alphatrader.sandbox.market.types import Bar
from tests.support.fixed_market import AAPL, SPY
from tests.support.ingestion import Story, all_live, ingestion, small
from tests.support.servers import Servers
from tests.support.waiting import until

ENDED = (
    ("quote", {Kind.QUOTE}, 10182, "Failed to request live updates (disconnected)."),
    ("bars", {Kind.BARS}, 10225, "Bust event occurred, current subscription is deactivated. Please resubscribe real-time bars."),
    ("ticks", {Kind.TICKS}, 10182, "Failed to request live updates (disconnected)."),
    ("depth", {Kind.DEPTH, Kind.MAKERS}, 316, "Market depth data has been HALTED. Please re-subscribe."),
)


def asked(s: Story, what: str) -> dict[int, set[int]]:
    """The requests that the gateway serves of one kind, by instrument."""
    found: dict[int, set[int]] = {AAPL: set(), SPY: set()}
    for line in s.running.gateway.data._tables[what].values():
        con_id = line.contract.con_id if what == "quote" else line.con_id
        found.setdefault(con_id, set()).add(line.req_id)
    return found


def test_what_the_broker_ends_is_asked_for_again_and_gives_data_again(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            await all_live(s)
            subscriptions = s.module._lines.subscriptions
            assert subscriptions is not None
            for what, kinds, code, text in ENDED:
                before = asked(s, what)
                s.running.gateway.inject("end", what=what, code=code, text=text, symbol="SPY")

                def anew(what: str = what, before: dict[int, set[int]] = before) -> bool:
                    now = asked(s, what)
                    return len(now[SPY]) == len(before[SPY]) > 0 and not now[SPY] & before[SPY]

                await until(anew)
                assert asked(s, what)[AAPL] == before[AAPL] != set()
                if what == "bars":
                    s.running.market.bar(SPY, Bar(s.running.clock(), 600.0, 600.5, 599.5, 600.2, 1000, 600.1, 10))
                for req_id in asked(s, what)[SPY]:
                    again = subscriptions.by_id(req_id)
                    assert again is not None and again.name == "SPY" and again.kind in kinds

                    def proven(again: Subscription = again) -> bool:
                        subscriptions.look(s.module.clock.monotonic())
                        return again.heard_at is not None

                    await until(proven)
            assert s.module._connection.connections == 1

    asyncio.run(story())
