"""The mark of a position: the mid of the broker's own quote, or nothing."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Final

from alphatrader.contract.messages.contracts import ContractQuote
from alphatrader.contract.price_steps import step

FIRM_SHARE: Final = Decimal("0.25")
"""Widest spread of a quote that decides, as a share of its mid; entries are made within 10 %."""
FIRM_USD: Final = Decimal("0.10")
"""And in USD, for options worth little."""


def mid(quote: ContractQuote | None) -> Decimal | None:
    """None without a quote, a side, or a sound one: a crossed, infinite or negative quote marks nothing."""
    if quote is None or quote.bid is None or quote.ask is None:
        return None
    if not (math.isfinite(quote.bid) and math.isfinite(quote.ask)) or quote.bid < 0 or quote.ask <= 0 or quote.bid > quote.ask:
        return None
    return (Decimal(str(quote.bid)) + Decimal(str(quote.ask))) / 2


def firm(quote: ContractQuote | None) -> bool:
    """Whether the mid says what a contract could be sold for about now. A side that is pulled for a moment leaves a wide quote,
    whose mid may stand anywhere: it marks, but moves no stop and reaches no target."""
    middle = mid(quote)
    if quote is None or quote.bid is None or quote.ask is None or middle is None:
        return False
    spread = Decimal(str(quote.ask)) - Decimal(str(quote.bid))
    return spread <= max(FIRM_SHARE * middle, FIRM_USD)


def tick(quote: ContractQuote | None) -> Decimal:
    """The step between the contract's prices where its quote stands; a cent where no quote names it."""
    if quote is None or not math.isfinite(quote.min_tick) or quote.min_tick <= 0:
        return Decimal("0.01")
    return step(quote.symbol, Decimal(str(quote.min_tick)), mid(quote) or Decimal(0))
