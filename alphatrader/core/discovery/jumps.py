"""What was found tonight against what is in effect: a jump waits for a second night, or for a person's yes.

A bucket size that halves overnight is more often a bad sample than another market, and everything measured with it changes at
once. So a value that moved too far is kept as a candidate; it takes effect when a later night finds about the same again. What
was never measured before (a seed, a fallback) is no yesterday: the first measurement takes effect. Light: no scientific package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import msgspec

from alphatrader.contract.messages.metrics import Candidate, Candidates, Parameter
from alphatrader.core.discovery.found import PARAMETERS, Found, Matrix, Waiting, kept, measured, measured_matrix

NEVER_GATED: Final = frozenset({"mm_profiles"})
"""Nothing is decided with it, and names come and go."""
UNITS: Final = {"vpin_bucket_size": "a bucket", "lookback_bars": "bars", "mm_profiles": "names", "vol_regimes": "states"}


@dataclass(frozen=True, slots=True)
class Limits:
    share: float
    """A value that grew or shrank by more than this share has jumped: 0.5 lets 100 become 150 or 67."""
    correlation: float
    """A correlation that moved by more than this has jumped."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the report."""

    parameter: str
    symbol: str | None
    before: str
    after: str
    why: str
    took_effect: bool


def settle(
    before: Found, tonight: Found, limits: Limits, night: str, only: frozenset[str] | None = None
) -> tuple[Found, tuple[Change, ...]]:
    """`tonight` as it takes effect, with what waits; and what changed, in words. `night` is the trading date of this run; `only`:
    the symbols it computed, without the matrix, where it was not all."""
    waiting = {(one.parameter, one.symbol): one for one in before.waiting}
    maps: dict[str, dict[str, Parameter]] = {}
    still: list[Waiting] = []
    changes: list[Change] = []
    for name in PARAMETERS:
        maps[name] = {}
        for symbol, found in getattr(tonight, name).items():
            old = getattr(before, name).get(symbol)
            if only is not None and symbol not in only:
                maps[name][symbol] = old or found
                still += [waiting[name, symbol]] if (name, symbol) in waiting else []
                continue
            value, waits, change = _settle_one(name, symbol, old, found, waiting.get((name, symbol)), limits, night)
            maps[name][symbol] = value
            still += [waits] if waits else []
            changes += [change] if change else []
    old_matrix, matrix_waits = before.correlation_matrix, waiting.get(("correlation_matrix", None))
    if only is None:
        matrix, waits, change = _settle_matrix(old_matrix, tonight.correlation_matrix, matrix_waits, limits, night)
    else:
        matrix, waits, change = old_matrix, matrix_waits, None
    still += [waits] if waits else []
    changes += [change] if change else []
    settled = msgspec.structs.replace(tonight, correlation_matrix=matrix, waiting=tuple(still), **maps)
    return settled, tuple(changes)


def accept(found: Found, symbol: str | None) -> tuple[Found, tuple[Change, ...]]:
    """A person said yes: what waits takes effect, of one symbol or all. The matrix is of all symbols."""
    maps = {name: dict(getattr(found, name)) for name in PARAMETERS}
    matrix, still, changes = found.correlation_matrix, [], []
    for one in found.waiting:
        if symbol is not None and one.symbol != symbol:
            still.append(one)
            continue
        before, after = "", ""
        if one.matrix is not None:
            before, after, matrix = said_matrix(matrix), said_matrix(one.matrix), one.matrix
        elif one.value is not None and one.symbol is not None:
            old = maps[one.parameter].get(one.symbol)
            before, after = said(one.parameter, old), said(one.parameter, one.value)
            maps[one.parameter][one.symbol] = one.value
        changes.append(Change(one.parameter, one.symbol, before, after, f"accepted by a person; {one.jump}", True))
    settled = msgspec.structs.replace(found, correlation_matrix=matrix, waiting=tuple(still), **maps)
    return settled, tuple(changes)


def candidates(found: Found) -> Candidates:
    """What waits, for people."""
    shown = []
    for one in found.waiting:
        if one.matrix is not None:
            in_effect, value = said_matrix(found.correlation_matrix), said_matrix(one.matrix)
        else:
            in_effect = said(one.parameter, getattr(found, one.parameter).get(one.symbol))
            value = said(one.parameter, one.value)
        shown.append(Candidate(one.parameter, one.symbol, one.night, in_effect, value, one.jump))
    return Candidates(found.as_of_ns, tuple(shown))


def said(name: str, parameter: Parameter | None) -> str:
    """A value in words."""
    if parameter is None or parameter.value is None:
        return "unknown"
    unit = UNITS[name]
    text = f"{parameter.value:,.0f} {unit.removesuffix('s') if parameter.value == 1 else unit}"
    vols = ", ".join(f"{state['vol']:.0%}" for state in parameter.detail.get("states", ()))
    return f"{text} ({vols} a year)" if vols else text


def said_matrix(matrix: Matrix) -> str:
    return f"{len(matrix.symbols)} symbols, {matrix.n} returns"


def _settle_one(
    name: str, symbol: str, old: Parameter | None, found: Parameter, waits: Waiting | None, limits: Limits, night: str
) -> tuple[Parameter, Waiting | None, Change | None]:
    """(in effect, what waits, what changed)."""
    value = kept(old, found)
    if not measured(found):  # nothing was measured tonight: what waits goes on waiting
        changed = old is None or value.value != old.value
        return value, waits, _change(name, symbol, old, value, value.fallback or "", True) if changed else None
    if old is None or not measured(old) or name in NEVER_GATED:
        why = "measured for the first time" if old is None or not measured(old) else _sample(found)
        changed = old is None or old.value != found.value or not measured(old)
        return found, None, _change(name, symbol, old, found, why, True) if changed else None
    jump = _jump(old, found, limits.share)
    if jump is None:
        return (
            found,
            None,
            _change(name, symbol, old, found, _sample(found), True) if said(name, old) != said(name, found) else None,
        )
    since = _waits_since(
        waits, night, waits is not None and waits.value is not None and not _jump(waits.value, found, limits.share)
    )
    if since is None and waits is not None:
        return found, None, _change(name, symbol, old, found, f"{jump}; found on {waits.night}, too", True)
    why = f"{jump}: waits for a second night or a yes"
    return old, Waiting(name, since or night, jump, symbol=symbol, value=found), _change(name, symbol, old, found, why, False)


def _settle_matrix(
    old: Matrix, found: Matrix, waits: Waiting | None, limits: Limits, night: str
) -> tuple[Matrix, Waiting | None, Change | None]:
    def change(why: str, *, took: bool) -> Change:
        return Change("correlation_matrix", None, said_matrix(old), said_matrix(found), why, took)

    if not measured_matrix(found):
        return found, waits, None
    if old.from_ns is None:
        return found, None, change("measured for the first time", took=True)
    jump = _matrix_jump(old, found, limits.correlation)
    if jump is None:
        return found, None, None
    same = waits is not None and waits.matrix is not None and not _matrix_jump(waits.matrix, found, limits.correlation)
    since = _waits_since(waits, night, same)
    if since is None and waits is not None:
        return found, None, change(f"{jump}; found on {waits.night}, too", took=True)
    why = f"{jump}: waits for a second night or a yes"
    return old, Waiting("correlation_matrix", since or night, jump, matrix=found), change(why, took=False)


def _waits_since(waits: Waiting | None, night: str, same: bool) -> str | None:
    """None: an earlier night found the same, and it takes effect. Else the night it waits from; twice in one night is once."""
    if waits is None or not same:
        return night
    return None if waits.night < night else waits.night


def _jump(old: Parameter, found: Parameter, share: float) -> str | None:
    """How far a value moved, where that is a jump. Of states, their number and each one's volatility."""
    pairs = [(old.value, found.value)]
    then, now = old.detail.get("states"), found.detail.get("states")
    if then and now:
        if len(then) != len(now):
            return f"{len(then)} state{'s' if len(then) > 1 else ''} became {len(now)}"
        pairs = [(a["vol"], b["vol"]) for a, b in zip(then, now, strict=True)]
    ratios = [b / a for a, b in pairs if a and b and a > 0 and b > 0]
    if not ratios:
        return None
    furthest = max(ratios, key=lambda ratio: abs(math.log(ratio)))
    if abs(math.log(furthest)) <= math.log1p(share):
        return None
    return f"{furthest:.2f} times what it was, at most {1 + share:.2f} or {1 / (1 + share):.2f} is taken at once"


def _matrix_jump(old: Matrix, found: Matrix, most: float) -> str | None:
    if set(old.symbols) - set(found.symbols):
        return f"{', '.join(sorted(set(old.symbols) - set(found.symbols)))} would be lost"
    at = {symbol: place for place, symbol in enumerate(found.symbols)}
    moved = [
        (abs(found.matrix[at[a]][at[b]] - old.matrix[i][j]), a, b, old.matrix[i][j], found.matrix[at[a]][at[b]])
        for i, a in enumerate(old.symbols)
        for j, b in enumerate(old.symbols[:i])
    ]
    far = [one for one in moved if one[0] > most]
    if not far:
        return None
    _, a, b, before, after = max(far)
    return f"{len(far)} pairs moved by more than {most:g}, {a} with {b} from {before:.2f} to {after:.2f}"


def _change(name: str, symbol: str, old: Parameter | None, new: Parameter, why: str, took: bool) -> Change:
    return Change(name, symbol, said(name, old), said(name, new), why, took)


def _sample(found: Parameter) -> str:
    sure = "" if found.confidence is None else f", confidence {found.confidence:.2f}"
    return f"from {found.n:,} data{sure}"
