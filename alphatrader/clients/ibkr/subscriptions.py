"""Market-data subscriptions of one connection: asked for by our own request ids, kept in a table, re-asked after 1101.

`IBKRIngestion` makes one for each connection and decides who gets what; this knows how to ask, to cancel, and what the broker's
error codes say of a subscription.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from ib_insync import IB, Contract

from alphatrader.clients.ibkr.handlers import Feed, Handlers

EQUITY_TICKS: Final = "225,233"
"""Generic ticks of an equity in full: auction values and imbalance (225), RTVolume (233)."""
FUTURE_TICKS: Final = "233"
"""A generic tick that a security type does not have refuses the whole request (321)."""

LIMITS: Final = frozenset({101, 309, 10190, 420})
"""The account has no more of this: lines, depth, tick-by-tick, 5-second bars."""
RESET: Final = 317
"""Empty the book: a new one follows on the same request."""
ASK_AGAIN: Final = frozenset({316, 10225})
"""Depth was halted (316), or a bust ended the 5-second bars (10225): dead until asked for again."""
UNKNOWN_CONTRACT: Final = 200
REFUSED: Final = frozenset({UNKNOWN_CONTRACT, 300, 310, 320, 321, 322, 354, 10092, 10168, 10186, 10189})
"""This request will give nothing: no such contract, no permission, not offered."""
ADVISORY: Final = frozenset({2152, 10089, 10090, 10167})
"""Part of the data is not subscribed; the rest comes."""
LINK_LOST: Final = 1100
LINK_BACK_EMPTY: Final = 1101
"""The link is back, subscriptions are gone."""
LINK_BACK: Final = 1102
COMPETING: Final = 10197
"""Another session of the same login took the data."""
FARM_BROKEN: Final = frozenset({2103, 2105, 2157})
FARM_OK: Final = frozenset({2104, 2106, 2158})
HARMLESS: Final = frozenset({2107, 2108, 2119, 2159})
"""Farms asleep until asked."""


class Kind(StrEnum):
    QUOTE = "quote"
    DEPTH = "depth"
    TICKS = "ticks"
    BARS = "bars"


@dataclass(slots=True)
class Subscription:
    req_id: int
    kind: Kind
    name: str
    """Our instrument's symbol, or the conId of a wanted contract."""
    contract: Contract
    feed: Feed
    generic: str = ""
    confirmed: bool = False
    """Something came on it."""


class Subscriptions:
    def __init__(self, ib: IB, depth_rows: int, refuse: Callable[[str], None]) -> None:
        self._client: Any = ib.client
        self._depth_rows = depth_rows
        self._by_id: dict[int, Subscription] = {}
        self._by_name: dict[tuple[Kind, str], Subscription] = {}
        Handlers(self._by_id, refuse).install(self._client.decoder.handlers)

    def open(self, kind: Kind, name: str, contract: Contract, feed: Feed, generic: str = "") -> None:
        """Asks for it, unless it is open already."""
        if (kind, name) not in self._by_name:
            self._ask(Subscription(self._client.getReqId(), kind, name, contract, feed, generic))

    def close(self, kind: Kind, name: str) -> None:
        subscription = self._by_name.get((kind, name))
        if subscription is None:
            return
        self.forget(subscription)
        cancel = {
            Kind.QUOTE: self._client.cancelMktData,
            Kind.TICKS: self._client.cancelTickByTickData,
            Kind.BARS: self._client.cancelRealTimeBars,
        }
        if kind == Kind.DEPTH:
            # The flag must be the one that was asked with, or the gateway goes on streaming (310).
            self._client.cancelMktDepth(subscription.req_id, _smart(subscription.contract))
        else:
            cancel[kind](subscription.req_id)

    def reopen(self, kind: Kind, name: str) -> None:
        """Cancels and asks anew."""
        if (old := self._by_name.get((kind, name))) is not None:
            self.close(kind, name)
            self.open(kind, name, old.contract, old.feed, old.generic)

    def reopen_all(self) -> None:
        """The broker has lost them all: asks anew under new ids, so that nothing late is taken for new."""
        lost = list(self._by_id.values())
        self._by_id.clear()
        self._by_name.clear()
        for old in lost:
            self.open(old.kind, old.name, old.contract, old.feed, old.generic)

    def forget(self, subscription: Subscription) -> None:
        """The broker has ended it, or is about to."""
        self._by_id.pop(subscription.req_id, None)
        self._by_name.pop((subscription.kind, subscription.name), None)

    def by_id(self, req_id: int) -> Subscription | None:
        return self._by_id.get(req_id)

    def names(self, kind: Kind) -> list[str]:
        return [name for of, name in self._by_name if of == kind]

    def is_open(self, kind: Kind, name: str) -> bool:
        return (kind, name) in self._by_name

    def counts(self) -> Mapping[str, int]:
        return Counter(str(subscription.kind) for subscription in self._by_id.values())

    def _ask(self, s: Subscription) -> None:
        self._by_id[s.req_id] = self._by_name[s.kind, s.name] = s
        if s.kind == Kind.QUOTE:
            self._client.reqMktData(s.req_id, s.contract, s.generic, False, False, [])
        elif s.kind == Kind.DEPTH:
            self._client.reqMktDepth(s.req_id, s.contract, self._depth_rows, _smart(s.contract), [])
        elif s.kind == Kind.TICKS:
            self._client.reqTickByTickData(s.req_id, s.contract, "AllLast", 0, True)
        else:
            self._client.reqRealTimeBars(s.req_id, s.contract, 5, "TRADES", True, [])


def _smart(contract: Contract) -> bool:
    """Depth over all venues at once: for what is routed by SMART."""
    return contract.exchange == "SMART"
