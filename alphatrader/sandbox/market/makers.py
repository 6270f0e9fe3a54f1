"""Market makers' attributed quotes on NASDAQ: each quotes both sides in its own way, and now and then leans or goes away.

A maker has a usual distance from the best, a size and a pace of refreshing, from the session's key; quotes have short holes.
About every twenty minutes it holds inventory for a while (45 to 120 s): it shows 1.5 to 4 times its size on one side, nearer the
best, and steps back on the other by 1 to 6 ticks, as strongly as the move is; or it pulls its quotes altogether. What other firms
do plays no part. Used by `depth.py`; `announcing.py` tells the truth of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from .hashing import mix, unit
from .venues import MARKET_MAKERS

BLOCK_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Move:
    """Seconds are from the session's open."""

    maker: str
    what: Literal["leans", "away"]
    side: int  # 1: shows a heavy bid, -1: a heavy ask, 0: away
    start: float
    end: float
    strength: float  # 0 to 1


class _Style(NamedTuple):
    """How a maker quotes all session, by its session's key."""

    maker: str
    base: int
    pace: float  # s between two refreshings
    there: float  # share of the time
    away: float  # ticks
    size: float  # of what the venue displays


@lru_cache(maxsize=64)
def _styles(key: int) -> tuple[_Style, ...]:
    bases = [mix(key ^ 0x57E1, number) for number in range(len(MARKET_MAKERS))]
    return tuple(
        _Style(
            maker,
            base,
            1.5 + 4 * unit(base, 2),
            0.8 + 0.18 * unit(base, 3),
            2.5 * unit(base, 1),
            0.03 + 0.07 * unit(base, 4),
        )
        for maker, base in zip(MARKET_MAKERS, bases, strict=True)
    )


@lru_cache(maxsize=4096)
def move_in(key: int, number: int, block: int) -> Move | None:
    """What a maker does in a block of the session beside its usual quoting."""
    drawn = mix(key ^ 0xA11CE, number * 100_003 + block)
    if unit(drawn, 1) >= 0.5:
        return None
    length = 45 + 75 * unit(drawn, 2)
    start = block * BLOCK_SECONDS + unit(drawn, 3) * (BLOCK_SECONDS - length)
    side = 0 if unit(drawn, 4) < 0.4 else 1 if drawn & 1 else -1
    return Move(MARKET_MAKERS[number], "leans" if side else "away", side, start, start + length, unit(drawn, 5))


def moves(key: int, from_second: float, to_second: float, *, running: bool = False) -> list[Move]:
    """Those that begin in [from, to), or with `running` those that stand at `from_second`."""
    found = (move_in(key, number, int(from_second // BLOCK_SECONDS)) for number in range(len(MARKET_MAKERS)))
    if running:
        return [move for move in found if move is not None and move.start < from_second < move.end]
    return [move for move in found if move is not None and from_second <= move.start < to_second]


def quotes(key: int, side: int, second: float, lot: int, display: int) -> list[tuple[int, int, str]]:
    """(ticks from the best, size, MPID) of one side at `second` of the session."""
    block = int(second // BLOCK_SECONDS)
    found = []
    for number, style in enumerate(_styles(key)):
        now = mix(style.base + side, int(second / style.pace))
        if unit(now, 1) >= style.there:
            continue
        away = int(style.away) + int(2 * unit(now, 2))
        size = display * style.size * (0.7 + 0.6 * unit(now, 3))
        move = move_in(key, number, block)
        if move is not None and move.start <= second < move.end:
            if not move.side:
                continue
            away = int(2 * unit(now, 2)) if move.side == side else away + 1 + int(5.9 * move.strength)
            size *= 1.5 + 2.5 * move.strength if move.side == side else 1
        found.append((away, max(lot, round(size / lot) * lot), style.maker))
    return found
