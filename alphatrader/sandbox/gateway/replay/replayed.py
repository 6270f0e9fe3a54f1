"""A market in which one symbol is a LOBSTER recording and everything else is the market behind it.

The gateway cannot tell it from any other market. A step stops short at each recorded event, so that depth is told after
every one and nothing is conflated; prints are the executions, visible (type 4) and hidden (5), and the crosses (6).
Options of the symbol stay those of the market behind: their prices do not follow the recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from alphatrader.sandbox.gateway.replay.lobster import CROSS, EXECUTION, HALT, HIDDEN_EXECUTION, Event
from alphatrader.sandbox.gateway.replay.pace import Pace
from alphatrader.sandbox.market.types import Bar, Book, Contract, Market, Print, Quote, Row, Step
from alphatrader.sandbox.market.venues import ODD_LOT, REGULAR, round_lot

VENUE, LETTER = "ISLAND", "Q"  # LOBSTER is NASDAQ's own book
CROSSED = "X"
_TRADING_AGAIN = 1


class ReplayedMarket:
    def __init__(self, behind: Market, con_id: int, events: Sequence[Event], *, start_ns: int, speed: float) -> None:
        if behind.contract(con_id) is None:
            raise ValueError(f"con_id {con_id}: no such contract to replay as")
        self._behind, self._con_id, self._events = behind, con_id, events
        self.pace = Pace(start_ns, speed)
        self._book = Book(con_id, start_ns, (), ())
        self._quote = Quote(
            con_id, start_ns, None, 0, None, 0, "", "", None, 0, "", 0, 0, 0, 0.0, None, None, None, None, 0
        )  # fmt: skip
        self._value = 0.0

    # --- what the recording says

    def step(self, now_ns: int) -> Step:
        event = self._events[self.pace.played] if self.pace.played < len(self._events) else None
        ts_ns = None if event is None else self.pace.take(event.since_midnight_ns, now_ns)
        if event is None or ts_ns is None:
            return self._without(self._behind.step(now_ns))
        self._stand(event, ts_ns)
        prints = (self._trade(event, ts_ns),) if event.kind in (EXECUTION, HIDDEN_EXECUTION, CROSS) else ()
        halts = ((self._con_id, self._quote.halted),) if event.kind == HALT else ()
        changed = (self._con_id,)
        return Step(min(ts_ns, now_ns - 1), changed, changed, prints, (), halts, (), ())

    def _stand(self, event: Event, ts_ns: int) -> None:
        bids = tuple(Row(price, size, VENUE) for price, size in event.bids)
        asks = tuple(Row(price, size, VENUE) for price, size in event.asks)
        self._book = Book(self._con_id, ts_ns, bids, asks)
        halted = self._quote.halted
        if event.kind == HALT:
            halted = 0 if event.price == _TRADING_AGAIN else 1
        self._quote = replace(
            self._quote,
            ts_ns=ts_ns,
            bid=bids[0].price if bids else None,
            bid_size=bids[0].size if bids else 0,
            ask=asks[0].price if asks else None,
            ask_size=asks[0].size if asks else 0,
            bid_exchanges=LETTER if bids else "",
            ask_exchanges=LETTER if asks else "",
            halted=halted,
        )

    def _trade(self, event: Event, ts_ns: int) -> Print:
        conditions = CROSSED if event.kind == CROSS else ODD_LOT if event.size < round_lot(event.price) else REGULAR
        quote, price = self._quote, event.price
        self._value += price * event.size
        volume = quote.volume + event.size
        self._quote = replace(quote, volume=volume, trade_count=quote.trade_count + 1, vwap=self._value / volume)
        if conditions != ODD_LOT:  # an odd lot sets neither last nor high nor low
            self._quote = replace(
                self._quote,
                last=price,
                last_size=event.size,
                last_exchange=VENUE,
                last_ts_ns=ts_ns,
                open=price if quote.open is None else quote.open,
                high=price if quote.high is None else max(quote.high, price),
                low=price if quote.low is None else min(quote.low, price),
            )
        return Print(self._con_id, ts_ns, price, event.size, VENUE, conditions)

    def _without(self, step: Step) -> Step:
        """What the market behind says of the symbol is not shown: it is being replayed."""
        mine = self._con_id
        return replace(
            step,
            quotes=tuple(con_id for con_id in step.quotes if con_id != mine),
            books=tuple(con_id for con_id in step.books if con_id != mine),
            prints=tuple(made for made in step.prints if made.con_id != mine),
            bars=tuple(made for made in step.bars if made[0] != mine),
            halts=tuple(made for made in step.halts if made[0] != mine),
            auctions=tuple(made for made in step.auctions if made.con_id != mine),
        )

    # --- the market

    def contract(self, con_id: int) -> Contract | None:
        return self._behind.contract(con_id)

    def contracts(self, **wanted: Any) -> list[Contract]:
        return self._behind.contracts(**wanted)

    def quote(self, con_id: int) -> Quote | None:
        return self._quote if con_id == self._con_id else self._behind.quote(con_id)

    def book(self, con_id: int) -> Book | None:
        return self._book if con_id == self._con_id else self._behind.book(con_id)

    def bars(self, con_id: int, end_ns: int, duration_seconds: int, bar_seconds: int) -> list[Bar]:
        return self._behind.bars(con_id, end_ns, duration_seconds, bar_seconds)

    def expiries(self, symbol: str) -> list[str]:
        return self._behind.expiries(symbol)

    def chain(self, symbol: str) -> list[Quote]:
        return self._behind.chain(symbol)

    def pause(self, symbol: str, seconds: float) -> None:
        found = self._behind.contract(self._con_id)
        if found is not None and found.symbol == symbol:
            raise ValueError(f"{symbol} is a recording: it is not paused")
        self._behind.pause(symbol, seconds)

    def news(self, symbol: str, limit: int) -> list[tuple[int, str, float, float]]:
        return self._behind.news(symbol, limit)
