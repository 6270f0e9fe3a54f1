"""Market-data subscriptions of one connection: asked for by our own request ids, kept in a table, and live only by their data.

`streams/ibkr` makes one for each connection and decides who gets what; this knows how to ask, to cancel and to ask again. What
the broker's codes mean stands in `codes.py`. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from ib_insync import IB, Contract, util

from alphatrader.clients.ibkr.handlers import Feed, Handlers

EQUITY_TICKS: Final = "225,233"
"""Generic ticks of an equity in full: auction values and imbalance (225), RTVolume (233)."""
FUTURE_TICKS: Final = "233"
"""A generic tick that a security type does not have refuses the whole request (321)."""


class Kind(StrEnum):
    QUOTE = "quote"
    DEPTH = "depth"
    MAKERS = "makers"
    """Depth of one exchange alone, whose rows name market makers; the broker counts it as depth."""
    TICKS = "ticks"
    BARS = "bars"


DEPTHS: Final = frozenset({Kind.DEPTH, Kind.MAKERS})


@dataclass(slots=True)
class Subscription:
    req_id: int
    kind: Kind
    name: str
    """Our instrument's symbol, or the conId of a wanted contract."""
    contract: Contract
    feed: Feed
    generic: str
    asked_at: float
    """When it was asked for, or began to be doubted."""
    tries: int = 0
    """How often it was asked for again for want of data."""
    heard_at: float | None = None
    """When its newest data were noticed; None while it is not proven."""
    fresh: bool = False
    """Data came since `Subscriptions.look`."""


def _to_nobody(*_: object) -> None: ...


class Subscriptions:
    def __init__(self, ib: IB, depth_rows: int, refuse: Callable[[str], None], told: Callable[..., None] = _to_nobody) -> None:
        """Places its own handlers into this IB's decoder; `refuse` is told of every frame that is not as it should be, `told` of
        each change of the table: `line` with its request id, name and kind, `unline` with the id."""
        self._client: Any = ib.client
        self._depth_rows = depth_rows
        self._by_id: dict[int, Subscription] = {}
        self._by_name: dict[tuple[Kind, str], Subscription] = {}
        self._told = told
        self.handlers = Handlers(self._by_id, refuse)
        self.handlers.install(self._client.decoder.handlers)

    @property
    def connected(self) -> bool:
        """Whether anything can be asked: the client refuses to send on a socket that is gone."""
        return bool(self._client.isConnected())

    # -- asking ----------------------------------------------------------------------------------------------------------

    def open(self, kind: Kind, name: str, contract: Contract, feed: Feed, generic: str = "", *, at: float = 0.0) -> None:
        """Asks for it, unless it is open already."""
        if (kind, name) not in self._by_name:
            self._ask(Subscription(self._client.getReqId(), kind, name, contract, feed, generic, at))

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
        if kind in DEPTHS:
            # The flag must be the one that was asked with, or the gateway goes on streaming (310).
            self._client.cancelMktDepth(subscription.req_id, _smart(subscription.contract))
        else:
            cancel[kind](subscription.req_id)

    def reopen(self, kind: Kind, name: str, *, at: float = 0.0, tries: int = 0) -> None:
        """Cancels and asks anew."""
        if (old := self._by_name.get((kind, name))) is not None:
            self.close(kind, name)
            self._again(old, at, tries)

    def reopen_all(self, at: float) -> None:
        """The broker has lost them all: asks anew under new ids, so that nothing late is taken for new."""
        lost = list(self._by_id.values())
        for old in lost:
            self.forget(old)
        for old in lost:
            self._again(old, at, 0)

    def forget(self, subscription: Subscription) -> None:
        """The broker has ended it, or is about to."""
        self._told("unline", subscription.req_id)
        self._by_id.pop(subscription.req_id, None)
        self._by_name.pop((subscription.kind, subscription.name), None)

    # -- proof -----------------------------------------------------------------------------------------------------------

    def look(self, at: float) -> None:
        """Notes on which data came since the last look: what costs the handlers one flag tells everything here."""
        for subscription in self._by_id.values():
            if subscription.fresh:
                subscription.fresh = False
                subscription.heard_at = at
                subscription.tries = 0

    def doubt(self, at: float) -> None:
        """They may all be dead: each must prove itself by data from now on."""
        for subscription in self._by_id.values():
            subscription.fresh = False
            subscription.heard_at = None
            subscription.asked_at = at

    # -- looking ---------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Subscription]:
        return iter(tuple(self._by_id.values()))

    def by_id(self, req_id: int) -> Subscription | None:
        return self._by_id.get(req_id)

    def get(self, kind: Kind, name: str) -> Subscription | None:
        return self._by_name.get((kind, name))

    def names(self, kind: Kind) -> list[str]:
        return [name for of, name in self._by_name if of == kind]

    def is_open(self, kind: Kind, name: str) -> bool:
        return (kind, name) in self._by_name

    def counts(self) -> Mapping[str, int]:
        return Counter(str(subscription.kind) for subscription in self._by_id.values())

    # -- inside ----------------------------------------------------------------------------------------------------------

    def _again(self, old: Subscription, at: float, tries: int) -> None:
        new_id = self._client.getReqId()
        self._ask(Subscription(new_id, old.kind, old.name, old.contract, old.feed, old.generic, at, tries))

    def _ask(self, s: Subscription) -> None:
        self._told("line", s.req_id, s.name, str(s.kind))
        self._by_id[s.req_id] = self._by_name[s.kind, s.name] = s
        if s.kind == Kind.QUOTE:
            self._client.reqMktData(s.req_id, s.contract, s.generic, False, False, [])
        elif s.kind in DEPTHS:
            self._client.reqMktDepth(s.req_id, s.contract, self._depth_rows, _smart(s.contract), [])
        elif s.kind == Kind.TICKS:
            self._client.reqTickByTickData(s.req_id, s.contract, "AllLast", 0, True)
        else:
            self._client.reqRealTimeBars(s.req_id, s.contract, 5, "TRADES", True, [])


def on_exchange(contract: Contract, exchange: str) -> Contract:
    """The same contract on one exchange alone."""
    return Contract.create(**{**util.dataclassAsDict(contract), "exchange": exchange})


def _smart(contract: Contract) -> bool:
    """Depth over all venues at once: for what is routed by SMART."""
    return contract.exchange == "SMART"
