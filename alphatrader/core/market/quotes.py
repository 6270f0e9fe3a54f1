"""Top of book, day's statistics and greeks, folded from the broker's ticks.

Tick types are IBKR's ("Available Tick Types"). A side that does not exist arrives as price -1 or 0 with size 0 and becomes None;
what is not a number never enters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from alphatrader.contract.messages.contracts import ContractQuote, OptionRef
from alphatrader.contract.messages.market import Day, Last, Level

MOST_PRICE: Final = 1e7
MOST_SIZE: Final = 1e12
AHEAD_NS: Final = 3_600_000_000_000
"""A print or a bar stamped farther ahead of its reception is of no clock. One far behind may be a recorded tape."""

_PRICES: Final = {1: "bid", 2: "ask", 4: "last", 6: "high", 7: "low", 9: "prev_close", 14: "open", 35: "auction_price"}
_SIZES: Final = {
    0: "bid_size",
    3: "ask_size",
    5: "last_size",
    8: "volume",
    34: "auction_volume",
    36: "auction_imbalance",
    61: "regulatory_imbalance",
}
_SIZE_OF_PRICE: Final = {1: "bid_size", 2: "ask_size", 4: "last_size"}
HALTED_TICK: Final = 49
RT_VOLUME_TICK: Final = 48
MODEL_TICK: Final = 13


class BadTickError(ValueError):
    """A tick whose value cannot be: refused, counted by its receiver."""


def checked(name: str, value: float, most: float) -> float:
    if not math.isfinite(value) or abs(value) >= most:
        raise BadTickError(f"{name} {value} is outside ±{most:g}")
    return value


def checked_time(name: str, ts_ns: int, received_ns: int) -> None:
    if not 0 <= ts_ns <= received_ns + AHEAD_NS:
        raise BadTickError(f"{name} stamped {ts_ns / 1e9:.16g} s, received at {received_ns / 1e9:.16g} s")


class QuoteStands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Each value by its name in the fold."""

    bid: float | None
    ask: float | None
    last: float | None
    bid_size: float | None
    ask_size: float | None
    last_size: float | None
    volume: float | None
    open: float | None
    high: float | None
    low: float | None
    prev_close: float | None
    auction_price: float | None
    auction_volume: float | None
    auction_imbalance: float | None
    regulatory_imbalance: float | None


class QuoteFold:
    """Newest values by name; each is None until the broker has said it."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.bid: float | None = None
        self.ask: float | None = None
        self.last: float | None = None
        self.bid_size: float | None = None
        self.ask_size: float | None = None
        self.last_size: float | None = None
        self.volume: float | None = None
        self.open: float | None = None
        self.high: float | None = None
        self.low: float | None = None
        self.prev_close: float | None = None
        self.auction_price: float | None = None
        self.auction_volume: float | None = None
        self.auction_imbalance: float | None = None
        self.regulatory_imbalance: float | None = None

    def standing(self) -> QuoteStands:
        return QuoteStands(**vars(self))

    def stand_as(self, was: QuoteStands) -> None:
        vars(self).update(msgspec.structs.asdict(was))

    def levels(self) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """The book where there is no depth: a level a side at most."""
        bids = (Level(self.bid, self.bid_size or 0.0),) if self.bid is not None else ()
        asks = (Level(self.ask, self.ask_size or 0.0),) if self.ask is not None else ()
        return bids, asks

    def why_no_book(self, *, continuous: bool) -> str | None:
        """Why those levels are no book to rely on."""
        if self.bid is None or self.ask is None:
            return "no bid and no ask" if self.bid is None and self.ask is None else "no bid" if self.bid is None else "no ask"
        if self.bid > self.ask and continuous:
            return f"crossed: bid {self.bid} over ask {self.ask}"
        return None

    def price(self, tick: int, price: float, size: float | None) -> str | None:
        """Folds a price tick; returns the name of what changed. Raises BadTickError."""
        name = _PRICES.get(tick)
        if name is None:
            return None
        checked(name, price, MOST_PRICE)
        absent = not size and (price == -1 or (price == 0 and name in ("bid", "ask")))
        changed = self._set(name, None if absent else price)
        size_name = _SIZE_OF_PRICE.get(tick)
        if size_name is not None:
            self._size(size_name, 0.0 if absent else size)
        return name if changed else size_name

    def size(self, tick: int, size: float) -> str | None:
        name = _SIZES.get(tick)
        if name is None:
            return None
        self._size(name, size)
        return name

    def _size(self, name: str, size: float | None) -> None:
        if size is None:
            return
        checked(name, size, MOST_SIZE)
        if size < 0 and name not in ("auction_imbalance", "regulatory_imbalance"):
            raise BadTickError(f"{name} {size} is negative")
        self._set(name, size)

    def _set(self, name: str, value: float | None) -> bool:
        if getattr(self, name) == value:
            return False
        setattr(self, name, value)
        return True

    def message(self, symbol: str, ts_ns: int, seq: int, day: Day | None = None) -> Last:
        return Last(
            symbol=symbol,
            ts_ns=ts_ns,
            seq=seq,
            bid=self.bid,
            bid_size=None if self.bid is None else self.bid_size,
            ask=self.ask,
            ask_size=None if self.ask is None else self.ask_size,
            last=self.last,
            last_size=self.last_size,
            volume=self.volume,
            open=self.open,
            high=self.high,
            low=self.low,
            prev_close=self.prev_close,
            day=day,
        )


class OptionFeed:
    """One wanted option: what the broker's handlers call, and the quote it makes of it."""

    def __init__(
        self,
        ref: OptionRef,
        con_id: int,
        market_ns: Callable[[], int],
        machine_ns: Callable[[], int],
        monotonic: Callable[[], float],
        stirred: list[OptionFeed],
    ) -> None:
        """`stirred`: where it puts itself when its quote changes; whoever takes it out says `dirty = False`."""
        self.ref = ref
        self.con_id = con_id
        self.heard: float | None = None
        """Monotonic seconds of the newest message; None before the first and after the link was lost."""
        self.dirty = False
        """Whether it stands in `stirred`."""
        self._stirred = stirred
        self.refused = 0
        self._quote = QuoteFold()
        self._greeks: dict[str, float | None] = {}
        self._min_tick: float | None = None
        self._market_ns, self._machine_ns, self._monotonic = market_ns, machine_ns, monotonic
        self._ts_ns = self._heard_machine_ns = 0

    def _hear(self) -> None:
        self.heard = self._monotonic()
        self._ts_ns, self._heard_machine_ns = self._market_ns(), self._machine_ns()
        self._stir()

    def _stir(self) -> None:
        if not self.dirty:
            self.dirty = True
            self._stirred.append(self)

    def tick_price(self, tick: int, price: float, size: float | None) -> None:
        self._fold(self._quote.price, tick, price, size)

    def tick_size(self, tick: int, size: float) -> None:
        self._fold(self._quote.size, tick, size)

    def _fold(self, fold: Callable[..., Any], *values: Any) -> None:
        try:
            fold(*values)
        except BadTickError:
            self.refused += 1
            return
        self._hear()

    def option(
        self,
        tick: int,
        implied_vol: float | None,
        delta: float | None,
        gamma: float | None,
        vega: float | None,
        theta: float | None,
        under_price: float | None,
    ) -> None:
        """The broker's computation. The model's counts (type 13); the others are of one side or of an old trade."""
        if tick != MODEL_TICK:
            return
        self._greeks = {
            "implied_vol": implied_vol,
            "delta": delta,
            "gamma": gamma,
            "vega": vega,
            "theta": theta,
            "under_price": under_price,
        }
        self._hear()

    def min_tick(self, tick: float) -> None:
        if math.isfinite(tick) and tick > 0:
            self._min_tick = tick
            self._stir()

    def silenced(self) -> None:
        """The link is down, nothing is lost yet: nothing of this is to be renewed until ticks come again."""
        self.heard = None

    def lost(self) -> None:
        """The line is down: what was heard is not to be renewed, and not to be mixed with what comes after."""
        self.heard = None
        self._quote.clear()
        self._greeks = {}

    def alive(self, now: float, quiet_seconds: float) -> bool:
        return self.heard is not None and self._min_tick is not None and now - self.heard <= quiet_seconds

    def message(self) -> ContractQuote:
        """The quote as it stands; call only while `alive`."""
        if self._min_tick is None:
            raise ValueError(f"{self.ref.occ}: the broker has not said its price increment")
        ref, quote = self.ref, self._quote
        return ContractQuote(
            con_id=self.con_id,
            symbol=ref.symbol,
            local_symbol=f"{ref.symbol:<6}{ref.occ[len(ref.symbol) :]}",
            sec_type="OPT",
            ts_ns=self._ts_ns,
            machine_ns=self._heard_machine_ns,
            min_tick=self._min_tick,
            bid=quote.bid,
            bid_size=None if quote.bid is None else quote.bid_size,
            ask=quote.ask,
            ask_size=None if quote.ask is None else quote.ask_size,
            last=quote.last,
            expiry=ref.expiry,
            strike=ref.strike,
            right=ref.right,
            **self._greeks,
        )

    # A quote line of an option carries nothing of these that is used.
    def tick_generic(self, tick: int, value: float) -> None: ...

    def tick_text(self, tick: int, text: str) -> None: ...

    def depth(
        self, operation: int, position: int, side: int, price: float, size: float, venue: str, market_maker: str
    ) -> None: ...

    def trade(
        self, seconds: int, price: float, size: float, past_limit: bool, unreported: bool, venue: str, conditions: str
    ) -> None: ...

    def bar(
        self, seconds: int, open_: float, high: float, low: float, close: float, volume: float, wap: float, count: int
    ) -> None: ...
