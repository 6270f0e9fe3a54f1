"""Venues, attributed market makers and sale conditions, as data (sources.md §3 and §8), and how a venue is drawn by weight.

Letters are the SIP's, names are the broker's. Weights are rough shares of displayed size and of lit volume.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from itertools import accumulate
from random import Random

# IB name: (SIP letter, weight). Off-exchange reports are FINRA (letter D) and show no displayed size.
LIT: dict[str, tuple[str, float]] = {
    "ISLAND": ("Q", 0.24),
    "ARCA": ("P", 0.17),
    "BATS": ("Z", 0.14),
    "DRCTEDGE": ("K", 0.12),
    "NYSE": ("N", 0.06),
    "EDGEA": ("J", 0.04),
    "BYX": ("Y", 0.03),
    "IEX": ("V", 0.06),
    "MEMX": ("U", 0.06),
    "BEX": ("B", 0.03),
    "PEARL": ("H", 0.03),
    "NYSENAT": ("C", 0.01),
    "PSX": ("X", 0.01),
}
OFF_EXCHANGE = "FINRA"


class Weighted:
    """Venues drawn by weight, with the sums made once: `Random.choices` makes them at each draw, to the same effect."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = dict(weights)
        self._names, self._sums = tuple(weights), tuple(accumulate(weights.values()))

    def draw(self, draw: Random) -> str:
        return self._names[bisect(self._sums, draw.random() * self._sums[-1], 0, len(self._names) - 1)]


BY_WEIGHT = Weighted({name: weight for name, (_, weight) in LIT.items()})
LETTERS = {name: letter for name, (letter, _) in LIT.items()} | {OFF_EXCHANGE: "D"}
PRIMARY_VENUE = {"NASDAQ": "ISLAND", "ARCA": "ARCA", "BATS": "BATS"}  # where the crosses of a listing are printed

# The ten MPIDs of sources.md §3; displayed on NASDAQ rows only. NSDQ is the anonymous rest.
MARKET_MAKERS = ("CDRG", "NITE", "VIRT", "ETMM", "SOHO", "JNST", "HRTF", "UBSS", "GSCO", "MSCO")
ANONYMOUS = "NSDQ"

REGULAR, SWEEP, ODD_LOT, OPENING, CLOSING, REOPENING = "@", "F", "I", "O", "6", "5"
# Conditions of some off-exchange reports which set neither last nor high nor low.
OFF_EXCHANGE_SPECIAL = ("W", "4", "7", "Z")


def round_lot(price: float) -> int:
    """Round lots by price (rule in force since November 2025)."""
    if price <= 250:
        return 100
    if price <= 1_000:
        return 40
    return 10 if price <= 10_000 else 1
