"""How a feed stands, as plain typed data: what its next events are made of, and nothing else.

Each class says by itself how it stands (`standing`) and is made to stand so again (`stand_as`); here stands what a feed's is
composed of. `ibkr` writes it into its audit log from time to time, so that events which a reader missed are made again from the
newest such record before them and not from the start of the day (streams/ibkr/checkpoints.py). State keys alone (bands, minutes,
the day's totals) need more and are not made again from here.
"""

from __future__ import annotations

import msgspec

from alphatrader.contract.messages.market import Bar
from alphatrader.core.market.depth_line import DepthStands
from alphatrader.core.market.halts import HaltsStand
from alphatrader.core.market.maker_book import MakersStand
from alphatrader.core.market.quotes import QuoteStands
from alphatrader.core.market.status import HoursStand
from alphatrader.core.market.tape import TapeStands
from alphatrader.core.market.tick_line import TicksStand


class FeedStands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a feed between two turns."""

    seq: int
    heard: float | None
    received_ns: int
    book_ns: int
    before: tuple[float | None, float | None]
    """The quote that the next print is judged by."""
    book_event_at: float
    quote_event_at: float
    book_dirty: int
    quote_dirty: int
    quote: QuoteStands
    hours: HoursStand
    depth: DepthStands
    ticks: TicksStand
    makers: MakersStand
    tape: TapeStands
    halts: HaltsStand
    newest_bar: Bar | None
