"""Where prices go: daily levels, and inside a session a path on a 5-second grid, from a factor model and informed episodes.

Daily log levels are mean-reverting walks on the weekdays since 2015, so any date has its level without simulating the days
before a start. A session's path is a bridge from its open to its close, with the day's volatility shape, common factors, the
instrument's own noise, and the drift of its episodes. All from the seed. Read by `tables.py` and `simulation.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import accumulate
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from .business_days import Session
from .hashing import generator
from .instruments import FACTORS, SPECS, Spec

SLOT_SECONDS = 5
SLOT_NS = SLOT_SECONDS * 1_000_000_000
FULL_DAY_SLOTS = 4680
Floats = NDArray[np.float64]

_MONDAY = date(2015, 1, 5).toordinal()
_WEEKDAYS = 9_000  # to mid 2049
_REVERSION = 0.97
_INTRADAY_SHARE = 0.8  # of the daily volatility that is seen as diffusion in the session
_GAP_SHARE = 0.35  # of the day's move that happens before the open
_KEPT = 0.5  # of an episode's drift that stays after the decay
_DECAY_SECONDS = 60
_LEADS_OTHERS = {"QQQ": "SPY", "IWM": "SPY"}  # their episodes mostly share the leader's direction
_SAME_DIRECTION = 0.7
_LED_BY_THEMSELVES = {"SPY", "QQQ", "IWM"}


def _weekday_index(day: date) -> int:
    weeks, rest = divmod(day.toordinal() - _MONDAY, 7)
    return weeks * 5 + min(rest, 4)


@lru_cache(maxsize=8)
def volatility_shape(slots: int) -> Floats:
    """Relative volatility by slot: high at the open, rising into the close; mean square 1."""
    x = (np.arange(slots) + 0.5) / slots
    shape = 1 + 1.6 * np.exp(-x / 0.06) + 0.6 * np.exp(-(1 - x) / 0.05)
    return np.asarray(shape / np.sqrt(np.mean(shape**2)))


@dataclass(frozen=True, slots=True)
class Episodes:
    """Informed flow of one symbol in one session; seconds from the open."""

    start: Floats
    end: Floats
    decayed: Floats
    direction: Floats  # +1 or -1
    drift: Floats  # log move at its end

    def lean(self, slots: int) -> Floats:
        """Direction of the informed flow by slot, -1..1."""
        x = np.column_stack((self.start - 0.5, self.start, self.end, self.end + 15)).ravel()
        y = np.column_stack((self.start * 0, self.direction, self.direction, self.start * 0)).ravel()
        return np.interp((np.arange(slots) + 0.5) * SLOT_SECONDS, x, y)

    def drift_path(self, slots: int) -> Floats:
        kept = np.cumsum(self.drift * _KEPT)
        before = np.concatenate(([0.0], kept[:-1]))
        x = np.column_stack((self.start, self.end, self.decayed)).ravel()
        y = np.column_stack((before, before + self.drift, kept)).ravel()
        return np.interp(np.arange(slots + 1) * SLOT_SECONDS, x, y)


@dataclass(frozen=True, slots=True)
class SessionPath:
    log_price: Floats  # at slot boundaries, slots + 1 values
    lean: Floats | None
    episodes: Episodes | None


class Paths:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._factor_days = {f: generator(seed, "days", f).standard_normal(_WEEKDAYS) for f in FACTORS}
        self._levels: dict[str, list[float]] = {}
        self._factors: OrderedDict[date, Floats] = OrderedDict()
        self._sessions: OrderedDict[tuple[str, date], SessionPath] = OrderedDict()

    def level(self, symbol: str, day: date) -> float:
        """Log price at the close of a weekday."""
        levels = self._levels.get(symbol)
        if levels is None:
            spec = SPECS[symbol]
            own = generator(self._seed, "days", symbol).standard_normal(_WEEKDAYS)
            moves = spec.daily_vol * self._blend(spec, self._factor_days, own)
            levels = list(accumulate(moves.tolist(), lambda level, move: level * _REVERSION + move))
            self._levels[symbol] = levels
        return float(np.log(SPECS[symbol].base)) + levels[_weekday_index(day)]

    @staticmethod
    def _blend(spec: Spec, factors: dict[str, Floats], own: Floats) -> Floats:
        explained = sum(load * load for _, load in spec.loads)
        total = own * sqrt(max(0.0, 1 - explained))
        for factor, load in spec.loads:
            total = total + factors[factor] * load
        return total

    def _factor_steps(self, day: date, slots: int) -> dict[str, Floats]:
        steps = self._factors.get(day)
        if steps is None:
            steps = generator(self._seed, "steps", day).standard_normal((len(FACTORS), slots))
            self._factors[day] = steps
            if len(self._factors) > 80:
                self._factors.popitem(last=False)
        return dict(zip(FACTORS, steps, strict=True))

    def episodes(self, symbol: str, day: date, slots: int) -> Episodes | None:
        spec = SPECS[symbol]
        block = spec.episode_block_seconds
        if not block:
            return None
        blocks = slots * SLOT_SECONDS // block
        draw = generator(self._seed, "episodes", symbol, day).random((4, blocks))
        length = 60 + np.floor(draw[0] * 31)
        start = np.arange(blocks) * block + np.floor(draw[1] * (block - length - 15))
        direction = np.where(draw[2] < 0.5, -1.0, 1.0)
        leader = _LEADS_OTHERS.get(symbol)
        if leader is not None:
            lead = generator(self._seed, "episodes", leader, day).random((4, blocks))
            same = generator(self._seed, "follows", symbol, day).random(blocks) < _SAME_DIRECTION
            direction = np.where(same, np.where(lead[2] < 0.5, -1.0, 1.0), direction)
        drift = direction * (1.6 + draw[3]) * spec.daily_vol * np.sqrt(length / 23_400)
        end = start + length
        decayed = np.minimum(end + _DECAY_SECONDS, (np.arange(blocks) + 1) * block)
        return Episodes(start, end, decayed, direction, drift)

    def _follow_the_market(self, spec: Spec, session: Session, slots: int, walk: Floats) -> None:
        """Whatever moves with the market moves with the informed flow in SPY too."""
        lead = self.episodes("SPY", session.day, slots)
        load = dict(spec.loads).get("market", 0.0)
        if lead is not None and load:
            walk += lead.drift_path(slots) * (load * spec.daily_vol / SPECS["SPY"].daily_vol)

    def session(self, symbol: str, session: Session) -> SessionPath:
        """The path of `symbol`; an instrument that follows another gets the leader's, scaled to its own level."""
        spec = SPECS[symbol]
        if spec.follows:
            leader = self.session(spec.follows, session)
            scale = float(np.log(spec.base / SPECS[spec.follows].base))
            return SessionPath(leader.log_price + scale, leader.lean, leader.episodes)
        cached = self._sessions.get((symbol, session.day))
        if cached is not None:
            return cached
        slots = (session.close_ns - session.open_ns) // SLOT_NS
        before = session.day - timedelta(days=3 if session.day.weekday() == 0 else 1)
        last, target = self.level(symbol, before), self.level(symbol, session.day)
        opening = last + _GAP_SHARE * (target - last)
        own = generator(self._seed, "own", symbol, session.day).standard_normal(slots)
        scale = spec.daily_vol * _INTRADAY_SHARE / sqrt(FULL_DAY_SLOTS)
        steps = self._blend(spec, self._factor_steps(session.day, slots), own) * volatility_shape(slots) * scale
        walk = np.concatenate(([0.0], np.cumsum(steps)))
        episodes = self.episodes(symbol, session.day, slots)
        if episodes is not None:
            walk += episodes.drift_path(slots)
        if symbol not in _LED_BY_THEMSELVES:
            self._follow_the_market(spec, session, slots, walk)
        walk += np.linspace(0.0, 1.0, slots + 1) * (target - opening - walk[-1])
        path = SessionPath(opening + walk, None if episodes is None else episodes.lean(slots), episodes)
        self._sessions[symbol, session.day] = path
        if len(self._sessions) > 120:
            self._sessions.popitem(last=False)
        return path
