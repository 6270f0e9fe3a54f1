"""Sale conditions: what a print may set. Tables of the consolidated tapes (UTP and CTA output specifications, "update flags").

A print carries up to four codes and the most restrictive wins. Each is one character and has its place of four (settlement, trade
through, extended hours or late, detail); IB's `specialConditions` are the four places with blanks where there is none, such as
"  TI" or " F I", so neighbours stand together. The tapes agree in all letters but B: bunched on UTP (Nasdaq's stocks), an average
price on CTA (all others), which says nothing of the price now.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple


class Condition(NamedTuple):
    """What a code allows. `last` None: only as the first eligible print of the day."""

    volume: bool
    last: bool | None
    vpin: bool
    range: bool
    """The day's high and low."""
    late: bool = False


REGULAR: Final = Condition(volume=True, last=True, vpin=True, range=True)
_AUCTION: Final = Condition(volume=True, last=True, vpin=False, range=True)
_PRIOR: Final = Condition(volume=True, last=None, vpin=False, range=True)
_SPECIAL: Final = Condition(volume=True, last=False, vpin=False, range=False)
_OFFICIAL: Final = Condition(volume=False, last=False, vpin=False, range=False)
UNKNOWN: Final = Condition(volume=True, last=False, vpin=False, range=False)

CONDITIONS: Final[dict[str, Condition]] = {
    # Regular, intermarket sweep, A acquisition, B bunched, D distribution, K rule 155, S split, Y yellow flag, E automatic.
    **dict.fromkeys(("@", "F", "1", "A", "B", "D", "K", "S", "Y", "E"), REGULAR),
    **dict.fromkeys(("X", "O", "5", "6"), _AUCTION),  # cross, open, reopen, close
    **dict.fromkeys(("4", "G", "P", "R"), _PRIOR),  # derivatively priced, bunched sold, prior reference price, seller
    "Z": _PRIOR._replace(late=True),  # sold, out of sequence
    "L": Condition(volume=True, last=True, vpin=False, range=True, late=True),  # sold last
    **dict.fromkeys(("C", "N", "W", "H", "T", "V", "7"), _SPECIAL),  # cash, next day, average, extended, contingent
    "U": _SPECIAL._replace(late=True),  # extended hours, out of sequence
    "I": Condition(volume=True, last=False, vpin=True, range=False),  # odd lot: informed, but not a last price
    **dict.fromkeys(("M", "Q"), _OFFICIAL),  # official close and open
    "9": Condition(volume=False, last=True, vpin=False, range=True),  # corrected consolidated close
}
CTA_CONDITIONS: Final = CONDITIONS | {"B": _SPECIAL}
ODD_LOT: Final = "I"
FORM_T: Final = "T"
"""Made before the open or after the close."""


class Counts(NamedTuple):
    """Whether a print counts, and for what."""

    volume: bool
    last: bool
    vpin: bool
    unknown: tuple[str, ...] = ()
    """Codes that no table has: volume only."""
    range: bool = True
    late: bool = False
    odd_lot: bool = False
    priced: bool = True
    """Whether its price is one of the session's trade, and goes into the average price: an odd lot's is, one made after hours,
    at an average or past the bands is not, however few its shares."""
    codes: str = ""
    """With a space between."""


_PLAIN: Final = Counts(volume=True, last=True, vpin=True)


def counts(
    conditions: str, *, first_of_day: bool = False, past_limit: bool = False, unreported: bool = False, cta: bool = False
) -> Counts:
    """What a print with these codes counts for, blanks between them or not; `cta`: by that tape's letters, else by UTP's."""
    if not conditions and not past_limit and not unreported:
        return _PLAIN
    return _counts(conditions, first_of_day, past_limit, unreported, cta)


@lru_cache(maxsize=1024)
def _counts(conditions: str, first_of_day: bool, past_limit: bool, unreported: bool, cta: bool) -> Counts:
    table = CTA_CONDITIONS if cta else CONDITIONS
    volume = last = vpin = in_range = priced = True
    late = False
    unknown = []
    codes = conditions.replace(" ", "")
    for code in codes:
        condition = table.get(code)
        if condition is None:
            unknown.append(code)
            condition = UNKNOWN
        volume = volume and condition.volume
        last = last and (first_of_day if condition.last is None else condition.last)
        vpin = vpin and condition.vpin
        in_range = in_range and condition.range
        priced = priced and (condition.range or code == ODD_LOT)
        late = late or condition.late
    if past_limit or unreported:
        volume = volume and not unreported
        last = vpin = in_range = priced = False
    return Counts(volume, last, vpin, tuple(unknown), in_range, late, ODD_LOT in codes, priced, " ".join(codes))
