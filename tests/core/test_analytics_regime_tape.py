"""The regime over whole tapes, against its definition recounted from all prints since the start: fractions, and 40 decimals.

The tapes: LOBSTER's prints and quotes with their clock slowed 400 times, so that its 49 seconds are five hours of minutes, and
generated ones with minutes without a print, two sessions, an early close and prices that stand still. The reference (sources.md
§5, docs/metrics.md) keeps each price; it knows no folded minute and no running mean. The regime is read at each new minute.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.market import BookEvent, MarketEvent, QuoteEvent, Trade
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.regime import read
from alphatrader.core.analytics.regime_metric import regime
from alphatrader.core.analytics.symbol import SymbolState, fresh
from alphatrader.core.analytics.vol_state import NOT_DISCOVERED, Vol
from tests.core.test_analytics_regime import adx_by_the_book
from tests.core.test_analytics_tape import DAY_NS, HOURS, NS, events, lobster, needs_sample

MINUTE = 60 * NS
SPAN, PERIOD, ATR_PERIOD = 20, Analytics().adx_period, 14
CHANCE_T_OF_20 = Decimal("12.3")
"""docs/metrics.md; that one random walk in twenty passes it is tested in test_analytics_regime.py."""
Bar = tuple[Fraction, Fraction, Fraction]


def decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def deviation(values: list[Decimal]) -> Decimal:
    mean = sum(values, Decimal(0)) / len(values)
    return (sum(((one - mean) ** 2 for one in values), Decimal(0)) / (len(values) - 1)).sqrt()


@dataclass
class Recount:
    prints: list[tuple[int, Fraction]] = field(default_factory=list)
    prices: list[tuple[int, Fraction]] = field(default_factory=list)
    """Prints, and the middles of sound quotes."""
    opened: int = 0
    name: str | None = None
    since: int = 0

    def price(self, ns: int, price: Fraction) -> None:
        """Five seconds that are over stand as they closed."""
        if not self.prices or ns // (5 * NS) >= self.prices[-1][0] // (5 * NS):
            self.prices.append((ns, price))

    def sessions(self) -> list[list[Bar]]:
        """(high, low, close) of each minute with prints that is over, split where an hour or more has none. The present session
        is the last; it has none before its first minute is over."""
        minutes: dict[int, list[Fraction]] = {}
        for ns, price in self.prints:
            minutes.setdefault(ns // MINUTE, []).append(price)
        over = sorted(minutes)[:-1]
        split: list[list[Bar]] = []
        self.starts: list[list[int]] = []
        for before, minute in zip([None, *over], over, strict=False):
            if before is None or minute - before >= 60:
                split.append([])
                self.starts.append([])
            self.starts[-1].append(minute)
            split[-1].append((max(minutes[minute]), min(minutes[minute]), minutes[minute][-1]))
        if over and over[-1] < self.opened // MINUTE:
            split.append([])
            self.starts.append([])
        return split

    def features(self) -> dict[str, Decimal | None]:
        sessions = self.sessions()
        # a change over minutes without a print is not one minute's
        changed = [
            [(a[2], b[2]) for (a, b), (i, j) in zip(pairwise(bars), pairwise(at), strict=True) if j == i + 1]
            for bars, at in zip(sessions, self.starts, strict=True)
        ]
        logs = [[decimal(b).ln() - decimal(a).ln() for a, b in session] for session in changed]
        newest = logs[-1] if logs else []
        found: dict[str, Decimal | None] = dict.fromkeys(
            ("drift_t", "slope_t", "adx", "vol_percentile", "realised_vol_1m", "minute_sigma", "atr_1m")
        )
        changes = [decimal(b - a) for session in changed for a, b in session]
        self.n = min(len(newest), SPAN)
        if len(changes) >= 20 and (sigma := deviation(changes[-120:])):
            found["minute_sigma"] = sigma
        if sessions and (adx := adx_by_the_book(sessions[-1], PERIOD)) is not None:  # type: ignore[arg-type]
            found["adx"] = decimal(adx)
        for session in reversed(sessions):
            if found["atr_1m"] is None and (atr := wilder(session)) is not None:
                found["atr_1m"] = decimal(atr)
        if len(newest) < SPAN:
            return found
        last = newest[-SPAN:]
        found["realised_vol_1m"] = spread = deviation(last)
        if spread:
            found["drift_t"] = sum(last, Decimal(0)) / SPAN / (spread / Decimal(SPAN).sqrt())
        found["slope_t"] = least_squares_t(self.starts[-1][-SPAN:], [bar[2] for bar in sessions[-1][-SPAN:]])
        past = [deviation(one[at : at + SPAN]) for one in logs for at in range(len(one) - SPAN + 1)]
        if len(past) >= 60:
            # equal windows differ in the 35th decimal at most
            found["vol_percentile"] = Decimal(sum(one <= spread + Decimal("1e-30") for one in past)) / len(past)
        return found

    def judged(self, found: dict[str, Decimal | None], others: dict[str, Decimal | None]) -> dict[str, Decimal]:
        """Strength of each class."""
        slope, percentile = found["slope_t"], found["vol_percentile"]
        part: dict[str, Decimal | None] = {
            "slope": None if slope is None else min(abs(slope) / CHANCE_T_OF_20, Decimal(1)),
            "adx": None if found["adx"] is None else min(found["adx"] / 40, Decimal(1)),
            "vol": None if percentile is None else max(2 * percentile - 1, Decimal(0)),
            "vpin": None if others["vpin"] is None else max(2 * others["vpin"] - 1, Decimal(0)),
            "gex": None if others["gex"] is None else Decimal(others["gex"] < 0),
            "state": others["state"],
        }

        def mean(**weights: str) -> Decimal:
            there = {name: Decimal(weight) for name, weight in weights.items() if part[name] is not None}
            return sum((weight * part[name] for name, weight in there.items()), Decimal(0)) / sum(there.values())  # type: ignore[operator]

        trend = mean(slope="0.4", adx="0.4", gex="0.2") if slope is not None else Decimal(0)
        strengths = {
            "HIGH_VOL": mean(vol="0.4", vpin="0.2", gex="0.2", state="0.2") if percentile is not None else Decimal(0),
            "TREND_UP": trend if slope is not None and slope >= 0 else Decimal(0),
            "TREND_DOWN": trend if slope is not None and slope <= 0 else Decimal(0),
        }
        return strengths | {"RANGE": 1 - max(strengths.values())}

    def stands(self, strengths: dict[str, Decimal], now_ns: int) -> str:
        """Entered at 0.6, left under 0.4, at least five minutes; the strongest of those that may be entered, else RANGE."""
        if self.name is not None and now_ns - self.since < 5 * MINUTE:
            return self.name
        if self.name not in (None, "RANGE") and strengths[self.name] >= Decimal("0.4"):
            return self.name
        enter = [name for name in ("HIGH_VOL", "TREND_UP", "TREND_DOWN") if strengths[name] >= Decimal("0.6")]
        name = max(enter, key=lambda one: strengths[one]) if enter else "RANGE"
        if name != self.name:
            self.name, self.since = name, now_ns
        return name

    def move(self, now_ns: int, seconds: int) -> Fraction | None:
        """The newest price less the close of the five seconds that had ended so long ago, which is at most a minute older."""
        closes: dict[int, Fraction] = {}
        for ns, price in self.prices:
            closes[ns // (5 * NS)] = price
        at = now_ns - seconds * NS
        ended = [slot for slot in closes if (slot + 1) * 5 * NS <= at]
        if not ended or at - max(ended) * 5 * NS > MINUTE + 5 * NS:
            return None
        return self.prices[-1][1] - closes[max(ended)]


def wilder(bars: list[Bar]) -> Fraction | None:
    """The mean of the first n true ranges, then an n-th of each further one."""
    ranges = [max(high, before[2]) - min(low, before[2]) for before, (high, low, _) in pairwise(bars)]
    if len(ranges) < ATR_PERIOD:
        return None
    atr = sum(ranges[:ATR_PERIOD], Fraction(0)) / ATR_PERIOD
    for one in ranges[ATR_PERIOD:]:
        atr = (atr * (ATR_PERIOD - 1) + one) / ATR_PERIOD
    return atr


def least_squares_t(minutes: list[int], closes: list[Fraction]) -> Decimal | None:
    """Slope over its standard error; None on a perfect line."""
    n = len(closes)
    mean_x, mean_y = Fraction(sum(minutes), n), sum(closes, Fraction(0)) / n
    xx = sum(((x - mean_x) ** 2 for x in minutes), Fraction(0))
    slope = sum(((x - mean_x) * (y - mean_y) for x, y in zip(minutes, closes, strict=True)), Fraction(0)) / xx
    left = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in zip(minutes, closes, strict=True))
    return decimal(slope) / decimal(left / (n - 2) / xx).sqrt() if left else None


def near(value: Decimal | Fraction | None) -> Any:
    return None if value is None else pytest.approx(float(value), rel=1e-7, abs=1e-12)


def check(tape: Iterator[tuple[MarketEvent, tuple[int, int]]], seed: int) -> tuple[list[str], SymbolState]:
    """Folds the tape both ways and compares at each new minute; returns the classes that stood. What comes from elsewhere (VPIN's
    percentile, GEX, the expected volatility state) is drawn, and is missing now and then."""
    draw, state, recount, stood = random.Random(seed), fresh("AAPL", Analytics()), Recount(), []
    read_minutes = left_out = 0
    for event, hours in tape:
        assert state.apply(event, hours)
        recount.opened = hours[0]
        if isinstance(event, Trade) and event.counts_for_last and hours[0] <= event.ts_ns < hours[1]:
            price = Fraction(str(event.price))
            if event.ts_ns - event.received_ns > MINUTE or (
                recount.prints and event.ts_ns // MINUTE < recount.prints[-1][0] // MINUTE
            ):
                left_out += 1  # of a minute that is over, or of one that is not yet
            else:
                recount.prints.append((event.ts_ns, price))
                recount.price(event.ts_ns, price)
        elif isinstance(event, QuoteEvent) and event.bid is not None and event.ask is not None and event.bid <= event.ask:
            recount.price(event.received_ns, (Fraction(str(event.bid)) + Fraction(str(event.ask))) / 2)
        elif isinstance(event, BookEvent) and event.bids and event.asks and event.bids[0].price <= event.asks[0].price:
            mid = (Fraction(str(event.bids[0].price)) + Fraction(str(event.asks[0].price))) / 2
            recount.price(event.received_ns, mid)
        minutes = len({ns // MINUTE for ns, _ in recount.prints})
        if minutes == read_minutes:
            continue
        read_minutes = minutes
        with localcontext(prec=40):
            stood.append(compare(state, recount, draw))
    assert sum(n for what, n in state.counts.items() if "left out of the minutes" in what) == left_out
    return stood, state


def compare(state: SymbolState, recount: Recount, draw: random.Random) -> str:
    now_ns = state.received_ns or 0

    def drawn(low: float, high: float) -> float | None:
        return draw.uniform(low, high) if draw.random() < 0.7 else None

    vpin, gex, high = drawn(0, 1), drawn(-1, 1), drawn(0, 1)
    reading, atr = read(state.minutes, PERIOD, SPAN, state.opened_ns), state.minutes.atr(ATR_PERIOD)
    vol = Vol(None, high, NOT_DISCOVERED, {})
    made = regime(state, reading, now_ns, lambda ns: None if ns is None else 0.0, None, atr, vpin, gex, vol, None)
    told, found = made.components, recount.features()
    assert {name: told[name] for name in found} == {name: near(value) for name, value in found.items()}
    for seconds in (60, 180):
        move, sigma = recount.move(now_ns, seconds), found["minute_sigma"]
        per = None if move is None or sigma is None else decimal(move) / (sigma * (Decimal(seconds) / 60).sqrt())
        assert told[f"trend_{seconds}s"] == near(per)
    drift = found["drift_t"]
    assert made.value == near(None if drift is None else max(Decimal(-1), min(Decimal(1), drift / 3)))
    changes = recount.n
    assert made.n == min(changes, SPAN)
    if changes < SPAN:
        assert made.reason == f"{changes} of {SPAN} one-minute changes of this session" and told["class"] == recount.name
        return str(told["class"])
    others = {"vpin": vpin, "gex": gex, "state": high}
    strengths = recount.judged(found, {name: None if one is None else Decimal(one) for name, one in others.items()})
    assert told["strengths"] == {name: near(one) for name, one in strengths.items()}
    assert told["class"] == recount.stands(strengths, now_ns)
    return str(told["class"])


# -- the real tape -------------------------------------------------------------------------------------------------------


@needs_sample
def test_the_real_tape_slowed_gives_the_regime_that_the_definition_gives() -> None:
    def slowed() -> Iterator[tuple[MarketEvent, tuple[int, int]]]:
        at = HOURS[0]
        for _, event in events([step for step, _ in lobster()]):
            at += 25 * NS if isinstance(event, Trade) else NS // 1000  # so that minutes follow each other
            yield replace(event, ts_ns=at, received_ns=at), HOURS

    stood, state = check(slowed(), 5)
    assert len(stood) > 40 and stood[-1] != "None" and len(state.minutes.runs()) == 1


# -- generated tapes -----------------------------------------------------------------------------------------------------


def generated(seed: int) -> Iterator[tuple[MarketEvent, tuple[int, int]]]:
    """An afternoon up to an early close, and the morning of the day after it: calm, trending, wild, and standing still."""
    draw, cents, seq = random.Random(seed), 10_000, 0
    day = 86_400 * NS
    short = (HOURS[0], DAY_NS + 46_800 * NS)
    for hours, start, minutes in (
        (short, short[1] - 75 * MINUTE, 78),
        ((HOURS[0] + day, HOURS[1] + day), HOURS[0] + day - MINUTE, 80),
    ):
        step, drift = 1, 0
        for minute in range(minutes):
            if minute % 20 == 0:
                step, drift = draw.choice(((1, 0), (2, 2), (2, -2), (12, 0), (0, 0)))
            if draw.random() < 0.05:
                continue
            for second in sorted(draw.sample(range(60), draw.randint(1, 4))):
                cents += draw.randint(-step, step) + drift
                at = start + minute * MINUTE + second * NS
                seq += 1
                if draw.random() < 0.3:
                    bid, ask = (cents - 1) / 100, (cents + draw.choice((-2, 0, 1))) / 100  # crossed ones too
                    yield QuoteEvent(seq, at, at, bid, 100.0, ask, 100.0), hours
                    continue
                last = draw.random() < 0.9  # the others do not make a last price
                stamped = at + draw.choice((0,) * 12 + (-3 * NS, -70 * NS, 59 * NS, 61 * NS))  # told late; and by a fast clock
                yield Trade(seq, stamped, at, cents / 100, 100.0, "ARCA", "", "buy", True, last, True), hours


@pytest.mark.parametrize("seed", range(8))
def test_a_generated_tape_gives_the_regime_that_the_definition_gives(seed: int) -> None:
    stood, state = check(generated(seed), seed)
    assert len(stood) > 100 and len(set(stood)) > 1 and len(state.minutes.runs()) == 2


def test_the_first_minute_of_a_session_has_no_change_and_is_not_read_from_the_day_before() -> None:
    state, day = fresh("AAPL", Analytics()), 86_400 * NS
    starts = [HOURS[0] + minute * MINUTE for minute in range(60)] + [HOURS[0] + day + minute * MINUTE for minute in (0, 1)]
    for seq, at in enumerate(starts, 1):
        hours = HOURS if at < HOURS[1] else (HOURS[0] + day, HOURS[1] + day)
        price = 100 + seq * seq % 7 / 100
        state.apply(Trade(seq, at, at, price, 100.0, "ARCA", "", "buy", True, True, True), hours)
    assert [len(run) for run in state.minutes.runs()] == [60, 1]
    reading = read(state.minutes, PERIOD, SPAN)
    assert (reading.n, reading.drift_t, reading.slope_t) == (0, None, None) and reading.minute_sigma is not None


def test_a_price_that_stood_still_says_so() -> None:
    """Twenty minutes without a move have no drift to tell: their deviation is 0."""
    state = fresh("AAPL", Analytics())
    for minute in range(23):
        at = HOURS[0] + minute * MINUTE
        state.apply(Trade(minute + 1, at, at, 100.0, 100.0, "ARCA", "", "buy", True, True, True), HOURS)
    reading = read(state.minutes, PERIOD, SPAN)
    now_ns = HOURS[0] + 23 * MINUTE
    made = regime(state, reading, now_ns, lambda ns: 0.0, None, None, None, None, Vol(None, None, NOT_DISCOVERED, {}), None)
    assert made.value is None and made.reason == "the price did not move in 20 minutes"
