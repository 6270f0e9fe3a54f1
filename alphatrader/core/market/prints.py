"""What a print means: who took the initiative, and whether it counts for volume, for the last price and for VPIN.

Side: the quote rule, then the tick rule (Lee and Ready 1991), with the quote in force just before the print; never a random side.
Counting: the sale conditions of the consolidated tapes (UTP and CTA specifications, "sale condition" tables); a print carries
up to four codes and the most restrictive wins. Venues by their SIP participant letter (CTA, UTP) with their MIC and IB's name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

Side = Literal["buy", "sell", "unknown"]


class Condition(NamedTuple):
    """What a code allows. `last` None: only as the first eligible print of the day."""

    volume: bool
    last: bool | None
    vpin: bool


REGULAR: Final = Condition(volume=True, last=True, vpin=True)
_AUCTION: Final = Condition(volume=True, last=True, vpin=False)
_LATE: Final = Condition(volume=True, last=None, vpin=False)
_SPECIAL: Final = Condition(volume=True, last=False, vpin=False)
UNKNOWN: Final = Condition(volume=True, last=False, vpin=False)

CONDITIONS: Final[dict[str, Condition]] = {
    **dict.fromkeys(("@", "F", "1", "A", "B", "D", "K", "S", "Y", "E"), REGULAR),
    **dict.fromkeys(("X", "O", "5", "6"), _AUCTION),  # cross, open, reopen, close
    **dict.fromkeys(("4", "G", "P", "R", "Z"), _LATE),  # derivatively priced, bunched sold, prior reference, seller, sold
    "L": Condition(volume=True, last=True, vpin=False),  # sold last: late
    **dict.fromkeys(("C", "N", "W", "H", "T", "U", "V", "7"), _SPECIAL),  # cash, next day, average, extended hours, contingent
    "I": Condition(volume=True, last=False, vpin=True),  # odd lot: informed, but not a last price
    **dict.fromkeys(("M", "Q"), Condition(volume=False, last=False, vpin=False)),  # official close and open
    "9": Condition(volume=False, last=True, vpin=False),  # corrected consolidated close
}


class Counts(NamedTuple):
    """Whether a print counts, and for what."""

    volume: bool
    last: bool
    vpin: bool
    unknown: tuple[str, ...]
    """Codes that no table has."""


def counts(conditions: str, *, first_of_day: bool = False, past_limit: bool = False, unreported: bool = False) -> Counts:
    """What a print with these space-separated codes counts for."""
    volume = last = vpin = True
    unknown = []
    for code in conditions.split():
        condition = CONDITIONS.get(code)
        if condition is None:
            unknown.append(code)
            condition = UNKNOWN
        volume = volume and condition.volume
        last = last and (first_of_day if condition.last is None else condition.last)
        vpin = vpin and condition.vpin
    if past_limit or unreported:
        volume = volume and not unreported
        last = vpin = False
    return Counts(volume, last, vpin, tuple(unknown))


SAME_PRICE: Final = 1e-7
"""Closer than this two prices are one: far under any increment, far over what floats add up to."""


class TickRule:
    """Remembers the direction of the last change of price, and decides the side of each print."""

    def __init__(self) -> None:
        self._price: float | None = None
        self._direction: Side = "unknown"

    def side(self, price: float, bid: float | None, ask: float | None, *, moves: bool) -> Side:
        """The aggressor of a print, given the quote before it. `moves`: whether it takes part in the tick rule after this."""
        direction = self._direction
        if self._price is not None and abs(price - self._price) > SAME_PRICE:
            direction = "buy" if price > self._price else "sell"
        if moves:
            self._price, self._direction = price, direction
        if bid is not None and ask is not None and bid < ask:
            from_middle = price - (bid + ask) / 2
            if abs(from_middle) > SAME_PRICE:
                return "buy" if from_middle > 0 else "sell"
        return direction


class Venue(NamedTuple):
    letter: str
    mic: str
    name: str
    """IB's name; empty where IB's is not known."""


VENUES: Final = (
    Venue("A", "XASE", "AMEX"),
    Venue("B", "XBOS", "BEX"),
    Venue("C", "XCIS", "NYSENAT"),
    Venue("F", "TXSE", ""),
    Venue("G", "24EQ", ""),
    Venue("H", "EPRL", "PEARL"),
    Venue("J", "EDGA", "EDGEA"),
    Venue("K", "EDGX", "DRCTEDGE"),
    Venue("L", "LTSE", "LTSE"),
    Venue("M", "XCHI", "CHX"),
    Venue("N", "XNYS", "NYSE"),
    Venue("P", "ARCX", "ARCA"),
    Venue("Q", "XNAS", "NASDAQ"),
    Venue("U", "MEMX", "MEMX"),
    Venue("V", "IEXG", "IEX"),
    Venue("X", "XPSX", "PSX"),
    Venue("Y", "BATY", "BYX"),
    Venue("Z", "BATS", "BATS"),
    Venue("D", "FINN", "FINRA"),
)
_OTHER_NAMES: Final = {"ISLAND": "NASDAQ", "NSDQ": "NASDAQ", "EDGX": "DRCTEDGE", "EDGA": "EDGEA"}
OFF_EXCHANGE: Final = frozenset({"FINRA"})
"""Trade reporting facilities: dark pools and internalizers report there."""
LETTERS: Final = {venue.name: venue.letter for venue in VENUES if venue.name}


def venue_name(name: str) -> str:
    """One name for each venue, whatever the broker calls it in this message."""
    return _OTHER_NAMES.get(name, name)


def unknown_venues(names: Iterable[str]) -> list[str]:
    """Names of no US equity venue: worth a line in the log, not a refusal."""
    return sorted({name for name in names if venue_name(name) not in LETTERS})
