"""The 24 venues of US equities: the letter of the consolidated tapes (CTA and UTP participant tables), MIC and IB's name.

19 exchanges that quote or are to (18 with a letter, MX2 without one yet), the four facilities of FINRA under D (three trade
reporting facilities and the display facility), and OTC: 24. Only exchanges have protected quotes (sources.md §9, Regulation
NMS): what trades at FINRA or over the counter protects nobody.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Venue(NamedTuple):
    letter: str
    mic: str
    name: str
    """IB's name; empty where IB's is not known."""
    protected: bool = True


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
    Venue("", "XMXT", ""),
    Venue("D", "FINN", "FINRA", protected=False),
    Venue("D", "FINC", "", protected=False),
    Venue("D", "FINY", "", protected=False),
    Venue("D", "XADF", "", protected=False),
    Venue("", "OOTC", "OTC", protected=False),
)
_BY_MIC: Final = {venue.mic: venue.name or venue.mic for venue in VENUES} | dict.fromkeys(("FINC", "FINY", "XADF"), "FINRA")
_OTHER_NAMES: Final = {"ISLAND": "NASDAQ", "NSDQ": "NASDAQ", "EDGX": "DRCTEDGE", "EDGA": "EDGEA"} | _BY_MIC
"""What the broker also calls a venue -> its one name."""
OFF_EXCHANGE: Final = frozenset({"FINRA", "OTC"})
"""Trade reporting facilities: dark pools and internalizers report there."""
LETTERS: Final = {venue.name: venue.letter for venue in VENUES if venue.name}
PROTECTED: Final = frozenset(venue.name or venue.mic for venue in VENUES if venue.protected)


def venue_name(name: str) -> str:
    """One name for each venue, whatever the broker calls it in this message."""
    return _OTHER_NAMES.get(name, name)
