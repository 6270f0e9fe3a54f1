"""A storm: any of the broker's faults in any order. After it all stands as before, proven by data, and is run again equal."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any, Final

import pytest

from alphatrader.clients.ibkr.subscriptions import Kind
from alphatrader.contract import keys as k
from alphatrader.runtime.replay_tape import Outcome, begun
from alphatrader.runtime.runs import logs
from alphatrader.streams.ibkr import IBKRIngestion
from tests.support.ingestion import Story, all_live, ingestion, small
from tests.support.servers import Servers
from tests.support.waiting import until

FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"do": "drop"},
    {"do": "down", "index": 0},
    {"do": "down", "index": 1},
    {"do": "up", "index": 0},
    {"do": "reset", "seconds": 1},
    {"do": "in_use", "client_id": 11},
    {"do": "lost"},
    {"do": "restored", "data_lost": True},
    {"do": "restored"},
    {"do": "competing"},
    {"do": "silence"},
    {"do": "silence", "symbol": "AAPL"},
    {"do": "speak"},
    {"do": "depth_reset"},
    {"do": "end", "what": "depth", "code": 316, "text": "Market depth data has been HALTED."},
    {"do": "end", "what": "ticks", "code": 10182, "text": "Failed to request live updates (disconnected)."},
    {"do": "end", "what": "bars", "code": 10225, "text": "Bust event occurred, current subscription is deactivated."},
    {"do": "end", "what": "quote", "code": 10182, "text": "Failed to request live updates (disconnected)."},
    {"do": "hmds", "state": "broken"},
    {"do": "notice", "code": 2103, "text": "Market data farm connection is broken:usfarm"},
    {"do": "notice", "code": 2104, "text": "Market data farm connection is OK:usfarm"},
    {"do": "notice", "code": 2108, "text": "Market data farm connection is inactive but should be available upon demand.usfarm"},
    {"do": "notice", "code": 2110, "text": "Connectivity between Trader Workstation and server is broken."},
    {"do": "notice", "code": 100, "text": "Max rate of messages per second has been exceeded:max=50"},
    {"do": "garbage", "what": "text"},
    {"do": "garbage", "what": "length"},
    {"do": "repeat", "count": 5},
    {"do": "reorder", "count": 5},
    {"do": "halt", "symbol": "SPY", "value": 2},
)
CALM: Final[tuple[dict[str, Any], ...]] = (
    {"do": "up", "index": 0},
    {"do": "up", "index": 1},
    {"do": "free", "client_id": 11},
    {"do": "speak", "symbol": "AAPL"},
    {"do": "speak"},
    {"do": "restored"},
    {"do": "halt", "symbol": "SPY", "value": 0},
    {"do": "hmds", "state": "there"},
    {"do": "notice", "code": 2104, "text": "Market data farm connection is OK:usfarm"},
)


def inject(s: Story, fault: dict[str, Any]) -> None:
    s.running.gateway.inject(fault["do"], **{name: value for name, value in fault.items() if name != "do"})


def proven(s: Story) -> bool:
    """Whether all that was subscribed before is subscribed, and every quote and book proved itself by data."""
    subscriptions = s.module._lines.subscriptions
    return (
        subscriptions is not None
        and s.subscribed() == {"lines": 3, "depth": 3, "tick_by_tick": 3, "realtime_bars": 3}
        and all(one.heard_at is not None for one in subscriptions if one.kind in (Kind.QUOTE, Kind.DEPTH, Kind.MAKERS))
    )


@pytest.mark.parametrize("seed", [20, *(pytest.param(seed, marks=pytest.mark.soak) for seed in (9, 22, 23, 25))])
def test_after_any_storm_every_subscription_is_live_and_all_of_it_is_run_again_equal(
    servers: Servers, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)

    async def story() -> None:
        data, broker = small(servers), {"backoff_most_seconds": 0.5}
        async with ingestion(servers, tmp_path, market="ticking", data=data, broker=broker) as s:
            await all_live(s)
            # given a dozen of faults, each while the ones before it may still stand
            for fault in (chance.choice(FAULTS) for _ in range(12)):
                inject(s, fault)
                await asyncio.sleep(chance.random() * 0.4)
            # when everything is there again
            for fault in CALM:
                inject(s, fault)
            # then every line gives data, every book is whole (two of three by depth, in turns) and nothing is an alarm any more
            await until(lambda: proven(s) and s.module.health._state == "ready", limit=120.0)
            for symbol in ("SPY", "AAPL", "ES"):

                async def shown(symbol: str = symbol) -> bool:
                    book, last = await s.get(k.MARKET_BOOK, symbol=symbol), await s.get(k.MARKET_LAST, symbol=symbol)
                    return book is not None and book.ready and last is not None and (symbol != "SPY" or book.source == "depth")

                await s.seen(shown)

    asyncio.run(story())
    # and what it made of all that is made again from its log
    (log,) = logs(tmp_path)
    outcome = Outcome("ibkr")
    for first, records in log.runs():
        assert first is not None
        asyncio.run(IBKRIngestion.replay(begun(first), records, outcome))  # type: ignore[misc]
    assert outcome.first is None and outcome.equal == outcome.turns > 20 and not outcome.holes and outcome.ends == "whole"
