"""The makers' profiles of a row of books, counted as discovery counts them."""

from __future__ import annotations

from collections.abc import Iterable

from alphatrader.contract.messages.market import BookEvent, MakersEvent
from alphatrader.contract.messages.metrics import Parameter
from alphatrader.core.discovery.makers import MakerTally


def profiles_of(books: Iterable[BookEvent | MakersEvent]) -> Parameter:
    tally = MakerTally()
    for book in books:
        tally.add(book)
    return tally.profiles()
