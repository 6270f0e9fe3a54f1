"""Futures at the broker: checked against the rules, rolled by volume, and never rolled back, over restarts too."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import FutureRoot
from alphatrader.contract.messages.market import GapEvent
from tests.support.fixed_market import ES_DEC, ES_MAR, FixedMarket
from tests.support.gateway import new_york_ns
from tests.support.ingestion import Story, ingestion
from tests.support.servers import Servers
from tests.support.waiting import until

AT = new_york_ns("2026-11-18 10:00:00")


async def known(s: Story) -> FutureRoot | None:
    return await s.reader.field(k.FUTURES.at(), "ES")


def test_the_front_month_moves_with_the_volume_and_stays_moved(servers: Servers, tmp_path: Path) -> None:
    market = FixedMarket(AT)
    market.book_ladder(ES_MAR)

    async def front_is(s: Story, month: str) -> FutureRoot:
        async def seen() -> FutureRoot | None:
            root = await known(s)
            return root if root is not None and root.front == month else None

        return await s.seen(seen)  # type: ignore[no-any-return]

    async def story() -> None:
        async with ingestion(servers, tmp_path, market=market) as s:
            # given that nothing speaks against December, then it is the front
            december = await front_is(s, "202612")
            assert (december.since, december.reason, december.differences) == ("2026-11-18", "nearest", ())
            assert [c.hard_roll_day for c in december.contracts] == ["20261210", "20270311"]
            await until(lambda: s.subscribed()["lines"] == 3)
            assert s.module._contracts.listed["ES"].con_id == ES_DEC
            # when March has traded more in all the sessions of the past days, and the volumes are looked at again
            market.bar_volume[ES_MAR] = 5000
            s.module._contracts._volumes_of.clear()
            # then March takes over: a gap for its readers, its own lines, its own past
            march = await front_is(s, "202703")
            assert march.reason == "volume"

            async def rolled() -> bool:
                reasons = [event.reason for event in await s.events("ES") if isinstance(event, GapEvent)]
                return "rolled from ESZ6 to ESH7" in reasons

            await s.seen(rolled)
            subscribed = s.running.gateway.data

            def of_march() -> bool:
                return all(
                    ES_MAR in {line.con_id for line in table.values()} and ES_DEC not in {line.con_id for line in table.values()}
                    for table in (subscribed._lines, subscribed._bars)
                )

            await until(of_march)
        # when it restarts and December trades more again
        market.bar_volume.clear()
        async with ingestion(servers, tmp_path / "again", market=market) as s:
            await until(lambda: s.subscribed()["lines"] == 3)
            await until(lambda: "ES" in s.module._contracts._volumes_of)
            # then it stays with March
            assert s.module._contracts.listed["ES"].con_id == ES_MAR
            root = await known(s)
            assert root is not None and (root.front, root.reason) == ("202703", "volume")

    asyncio.run(story())


def test_a_broker_that_differs_from_the_rules_alarms_and_is_obeyed(servers: Servers, tmp_path: Path) -> None:
    market = FixedMarket(AT)
    market.relist(ES_DEC, expiry="20261130")  # the hard roll is eight days before: past already on the 22nd

    async def story() -> None:
        async with ingestion(servers, tmp_path, market=market) as s:
            root = await s.seen(lambda: known(s))
            assert root.differences == ("ES 202612: last trading day 2026-11-30 at the broker, 2026-12-18 by the rules",)
            assert root.contracts[0].hard_roll_day == "20261122" and root.front == "202612"
            health = s.module.health
            await until(lambda: "ES 202612" in str(health._facts.get("futures_differ")))
            assert health._counts["futures_differ"] == 1

    asyncio.run(story())
