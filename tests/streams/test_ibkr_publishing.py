"""When state keys go out: soon after they changed, not more than twenty times a second, and nobody else's turn pays for it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.modules import Module
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.quotes import OptionFeed
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.settings import load
from alphatrader.streams.ibkr.publishing import TURN_SECONDS, Publisher

MARKET = load().market
RENEW_SECONDS = MARKET.renew_seconds * 1.01
START_NS = 1_800_000_000_000_000_000
SILENT = [f"S{number}" for number in range(25)]
CALL, PUT = (OptionRef("SPY", "20261218", strike, right) for strike, right in ((600.0, "C"), (590.0, "P")))


class Feed(SymbolFeed):
    """Counts how often it is asked whether it lives."""

    asked = 0

    def alive(self, now: float) -> bool:
        self.asked += 1
        return super().alive(now)


class Desk:
    """A publisher with 26 symbols, of which one speaks, and two options."""

    def __init__(self) -> None:
        self.now = 100.0
        spoken: list[SymbolFeed] = []
        self.feeds = {name: self._feed(name, spoken) for name in (*SILENT, "SPY")}
        stirred: list[OptionFeed] = []
        self.options = {
            str(con_id): OptionFeed(ref, con_id, self._ns, self._ns, self._monotonic, stirred)
            for con_id, ref in ((1, CALL), (2, PUT))
        }
        self.publisher = Publisher(MARKET, self.feeds, spoken, self.options, stirred)
        self.turn(after_read=False)

    def _feed(self, name: str, spoken: list[SymbolFeed]) -> SymbolFeed:
        return Feed(
            name, full=True, depth_rows=10, quiet_seconds=5.0, market_ns=self._ns, monotonic=self._monotonic, spoken=spoken
        )

    def _ns(self) -> int:
        return START_NS + int(self.now * 1e9)

    def _monotonic(self) -> float:
        return self.now

    def turn(self, after: float = 0.0, *, after_read: bool = True) -> list[str]:
        """The state keys that a turn writes, `after` seconds from the last."""
        self.now += after
        batch = Batch(Module.IBKR, {"market.ttl_seconds": 1.0})
        self.publisher.end_read()
        self.publisher.add_to(batch, self.now, after_read=after_read)
        return [command[1] for command in batch.commands if command[0] == "SET"]

    def quote(self, price: float, symbol: str = "SPY") -> None:
        self.feeds[symbol].tick_price(1, price, 100)

    def asked_while_spy_speaks(self) -> int:
        """How often the others are asked in fifty turns, shorter together than what lies between two writings of a key."""
        silent: list[Any] = [self.feeds[name] for name in SILENT]
        before = sum(feed.asked for feed in silent)
        for number in range(50):
            self.quote(600.0 + number % 2)
            self.turn(TURN_SECONDS / 60)
        return sum(feed.asked for feed in silent) - before


def renewed(desk: Desk) -> None:
    """Time goes on to just after a renewal of all keys, and before the next."""
    desk.turn(RENEW_SECONDS, after_read=False)


def test_a_change_goes_out_at_once_and_the_next_ones_together_when_their_turn_has_come() -> None:
    desk = Desk()
    renewed(desk)
    desk.quote(600.0)
    assert "market:SPY:last" in desk.turn(TURN_SECONDS)
    for cents in range(1, 5):
        desk.quote(600.0 + cents / 100)
        assert desk.turn(TURN_SECONDS / 8) == []
    assert "market:SPY:last" in desk.turn(TURN_SECONDS * 0.51, after_read=False), "the last change waits for no further message"
    assert desk.turn(TURN_SECONDS, after_read=False) == []


def test_each_waits_for_its_own_turn() -> None:
    desk = Desk()
    renewed(desk)
    desk.quote(600.0)
    desk.turn(TURN_SECONDS * 1.1)
    desk.quote(50.0, "S3")
    desk.turn(TURN_SECONDS * 0.6)
    desk.quote(601.0)
    desk.quote(51.0, "S3")
    assert desk.turn(0.001) == []
    spy, other = desk.turn(TURN_SECONDS * 0.5), desk.turn(TURN_SECONDS * 0.6)
    assert "market:SPY:last" in spy and "market:S3:last" not in spy
    assert "market:S3:last" in other and "market:SPY:last" not in other


def test_one_that_speaks_asks_nothing_of_those_that_are_silent() -> None:
    desk = Desk()
    for name in SILENT:
        desk.feeds[name].gap("started")  # something to tell, and no data
    renewed(desk)
    desk.turn(0.001, after_read=False)
    assert desk.asked_while_spy_speaks() == 0


def test_nor_of_those_that_wait_for_their_turn() -> None:
    desk = Desk()
    for price in (50.0, 51.0):
        for name in SILENT:
            desk.quote(price, name)
        desk.quote(price)
        renewed(desk) if price == 50.0 else desk.turn(0.001)
    assert desk.asked_while_spy_speaks() == 0
    assert {f"market:{name}:last" for name in SILENT} <= set(desk.turn(TURN_SECONDS))


def test_one_that_was_silent_shows_everything_with_its_first_message() -> None:
    desk = Desk()
    desk.quote(50.0, "S3")
    renewed(desk)
    desk.quote(51.0, "S3")
    desk.turn(6.0)  # longer than it may be silent: its keys lapse
    assert not any("S3" in name for name in desk.turn(0.4))
    desk.quote(52.0, "S3")
    written = set(desk.turn(0.001))
    assert {f"market:S3:{what}" for what in ("last", "book", "trades", "bars", "status", "timestamp")} <= written


def test_living_feeds_are_renewed_one_after_the_other_and_never_while_a_print_waits() -> None:
    desk = Desk()
    for name in desk.feeds:
        desk.quote(50.0, name)
    desk.turn(0.001)
    written: dict[str, list[float]] = {f"market:{name}:last": [desk.now] for name in desk.feeds}
    for _ in range(40):  # two seconds
        most = desk.turn(TURN_SECONDS, after_read=False)
        assert desk.turn() == []
        assert sum(name.endswith(":last") for name in most) <= len(desk.feeds) / 3
        for name in most:
            if name in written:
                written[name].append(desk.now)
    longest = {name: max(b - a for a, b in pairwise(times)) for name, times in written.items()}
    assert max(longest.values()) <= MARKET.renew_seconds + TURN_SECONDS * 1.01
    assert MARKET.renew_seconds + 2 * TURN_SECONDS < MARKET.ttl_seconds / 2


def test_quotes_of_options_go_out_when_they_change_and_when_all_is_renewed() -> None:
    desk = Desk()
    for option in desk.options.values():
        option.tick_price(1, 2.5, 10)
    assert not any(name.startswith("quotes:") for name in desk.turn(0.001)), "no price increment yet: no quote"
    for option in desk.options.values():
        option.min_tick(0.01)
    assert [name for name in desk.turn(0.001) if name.startswith("quotes:")] == ["quotes:1", "quotes:2"]
    desk.options["2"].tick_price(2, 2.6, 10)
    desk.options["2"].tick_size(0, 11)
    assert desk.turn(0.001) == ["quotes:2"]
    assert desk.turn(0.001) == []
    desk.options["1"].tick_size(0, 12)
    written = desk.turn(RENEW_SECONDS, after_read=False)
    assert [name for name in written if name.startswith("quotes:")] == ["quotes:1", "quotes:2"], "each once"
    desk.options["1"].lost()
    desk.options["1"].min_tick(0.05)
    assert desk.turn(0.001) == [], "a line that is down has no quote"
