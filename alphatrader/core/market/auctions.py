"""Closing auctions: where each symbol is listed, when its exchange says the imbalance, until when an order may enter.

sources.md §7. Nasdaq: early imbalance (no indicative prices) from 15:50, in full from 15:55, market-on-close
orders until 15:55. NYSE: from 15:50, when market-on-close orders end. Arca's orders end at 15:59: NYSE's page of trading hours
(nyse.com/trade/trading-information) has its closing auction imbalance freeze from 15:59 to 16:00. Its start at 15:00
stands on an older page of the exchange (tradearca.com, closing auctions, 2006); Cboe BZX's start, and end of orders, at 15:55
stand on no page that was found. Times stand as minutes before the close, so that an early close shifts all. Before data exist,
what is computed of the close rests on proxies (order flow, volume), and the message says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from alphatrader.contract.messages.market import Imbalance

MINUTE_NS: Final = 60_000_000_000


class Auction(NamedTuple):
    """Minutes before the close."""

    publishes: int
    entry_until: int


AUCTIONS: Final = {"NASDAQ": Auction(10, 5), "NYSE": Auction(10, 10), "ARCA": Auction(60, 1), "BATS": Auction(5, 5)}
LISTED_ON: Final = {
    **dict.fromkeys(("SPY", "IWM"), "ARCA"),
    "VXX": "BATS",
    **dict.fromkeys(("QQQ", "AAPL", "MSFT", "NVDA", "TSLA", "AMZN", "META", "GOOGL", "AMD", "PLTR", "NFLX", "AVGO"), "NASDAQ"),
}
"""Of the seed symbols none is listed on NYSE."""
UTP_LISTS: Final = "NASDAQ"
"""What is listed there is told by the tape UTP, everything else by CTA."""


def closing(
    symbol: str,
    now_ns: int,
    close_ns: int,
    *,
    shares: float | None,
    regulatory_shares: float | None,
    price: float | None,
    paired: float | None,
    told_ns: Mapping[str, int] | None = None,
    listed_on: str | None = None,
) -> Imbalance | None:
    """The closing auction as known now; None where the listing exchange is not known, or the session is over.

    The broker's values count only while the exchange publishes, and where they were told since then: what stands from earlier is
    of another auction, the opening's. `told_ns`: when each of the four was told last; None: just now.
    """
    exchange = listed_on or LISTED_ON.get(symbol)
    auction = AUCTIONS.get(exchange or "")
    if exchange is None or auction is None or now_ns >= close_ns:
        return None
    from_ns = close_ns - auction.publishes * MINUTE_NS
    until_ns = close_ns - auction.entry_until * MINUTE_NS
    values = {"shares": shares, "regulatory_shares": regulatory_shares, "price": price, "paired": paired}
    if told_ns is not None:
        values = {name: value if told_ns.get(name, 0) >= from_ns else None for name, value in values.items()}
    if now_ns < from_ns or values["shares"] is None:
        return Imbalance(exchange, "proxies", from_ns, until_ns)
    return Imbalance(exchange, "data", from_ns, until_ns, **values)
