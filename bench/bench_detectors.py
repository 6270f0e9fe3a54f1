"""What the detectors find of what there was: precision and recall against the sandbox's truth log, and on LOBSTER's tape.

The simulated market runs in this process from a seed. What a wire would show of it (prints, and books and quotes conflated to
100 ms, received in turns of 50 ms or of what is asked for) is folded by analytics' own state, once with each turn's prints before
its quotes and books and once after them; the truth log is only read to grade. Run:
`python -m bench.bench_detectors [--minutes 10] [--seed 7] [--symbols SPY,QQQ,IWM] [--turn-ms 50]`.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from alphatrader.contract.messages.market import BookEvent, MakerRow, MakersEvent, QuoteEvent, Trade
from alphatrader.contract.messages.options import Chain
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics import sweep_score
from alphatrader.core.analytics.sweep import Sweep
from alphatrader.core.analytics.symbol import SymbolState, fresh
from alphatrader.core.market.book import Row, consolidate
from alphatrader.core.market.checksum import checksum
from alphatrader.core.market.conditions import counts
from alphatrader.core.market.hedging import Reading
from alphatrader.core.market.hidden_prints import HiddenDetector, HiddenExecution
from alphatrader.core.market.icebergs import MIN_REFILLS, Iceberg
from alphatrader.core.market.makers import FAST_SECONDS, WARM_SECONDS, Move
from alphatrader.core.market.prints import TickRule
from alphatrader.core.market.venues import venue_name
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import exchange_instant
from alphatrader.sandbox.market import SimulatedMarket, TruthLog
from alphatrader.sandbox.market.types import Print

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.support.market_world import chain_of

TURN_MS = 50
CONFLATE_MS = 100
MAKER_MS = 250
CHAIN_MS = 5000
SLACK_NS = 250_000_000
LOBSTER = Path(__file__).parents[2] / "shared" / "data" / "lobster"
HOURS = (0, 2**62)
START_NS = exchange_instant(date(2026, 11, 18), "10:00")
WEIGHTS = Analytics().sweep_weights
Truth = dict[str, list[dict[str, Any]]]


@dataclass
class Folded:
    """One symbol's state, and everything its bounded lists ever held."""

    state: SymbolState
    rule: TickRule = field(default_factory=TickRule)
    seq: int = 0
    best: tuple[float | None, float | None] = (None, None)
    icebergs: dict[tuple[str, float, str, int], Iceberg] = field(default_factory=dict)
    hidden: dict[tuple[int, float, str, str], HiddenExecution] = field(default_factory=dict)
    sweeps: dict[tuple[str, int], Sweep] = field(default_factory=dict)
    strengths: dict[tuple[str, int], float] = field(default_factory=dict)
    moves: dict[tuple[str, str, int], Move] = field(default_factory=dict)
    chain: Chain | None = None
    looks: list[tuple[int, Reading]] = field(default_factory=list)
    """(when, what the hedging signal said), of each refresh of the chain that could say something."""

    def next(self) -> int:
        self.seq += 1
        return self.seq

    def print(self, made: Print, now: int) -> None:
        count, (bid, ask) = counts(made.conditions), self.best
        side = self.rule.side(made.price, bid, ask, moves=count.last)
        self.state.apply(
            Trade(
                self.next(), made.ts_ns, now, made.price, made.size, venue_name(made.exchange), made.conditions, side,
                count.volume, count.last, count.vpin, bid=bid, ask=ask,
            ),
            HOURS,
        )  # fmt: skip

    def keep(self) -> None:
        self.icebergs |= {(i.side, i.price, i.venue, i.first_ns): i for i in self.state.icebergs.icebergs}
        self.moves |= {(m.maker, m.what, m.from_ns): m for m in self.state.makers.moves}
        self.hidden |= {(x.ts_ns, x.price, x.venue, x.side): x for x in self.state.hidden.executions}
        for s in self.state.sweeps.sweeps:
            parts = sweep_score.parts(s, self.state.sweeps.past)
            self.sweeps[s.side, s.first_ns] = s
            self.strengths[s.side, s.first_ns] = sweep_score.strength(parts, WEIGHTS)


def simulate(
    minutes: float, seed: int, symbols: Iterable[str], *, depth_first: bool = False, turn_ms: int = TURN_MS
) -> tuple[dict[int, Folded], Truth]:
    """What was folded, by con_id, and the truth of the same symbols, by kind. `depth_first`: each turn's quotes and books come
    before its prints, as where depth runs ahead; otherwise after them."""
    start = START_NS
    known = [(s.day, s.open_ns, s.close_ns) for s in nyse().sessions if abs((s.day - date(2026, 11, 18)).days) < 200]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "truth.jsonl"
        market = SimulatedMarket(seed=seed, start_ns=start, sessions=known, truth=TruthLog(path))
        con_ids = {c.symbol: c.con_id for c in market.contracts(sec_type="STK")}
        folded = {con_ids[symbol]: Folded(fresh(symbol, Analytics())) for symbol in symbols}
        stirred: set[int] = set()
        for at_ms in range(turn_ms, int(minutes * 60_000) + 1, turn_ms):
            now = start + at_ms * 1_000_000
            step = market.step(now)
            if not depth_first:
                take(step.prints, folded, now)
            stirred |= {*step.quotes, *step.books} & folded.keys()
            for con_id in stirred:
                if quote := market.quote(con_id):
                    folded[con_id].best = (quote.bid, quote.ask)
            if at_ms % MAKER_MS == 0:
                for con_id, one in folded.items():
                    show_makers(market, con_id, one, now + 1)
            if at_ms % CONFLATE_MS == 0:
                for con_id in stirred:
                    show(market, con_id, folded[con_id], now + 1)
                stirred = set()
            if depth_first:
                take(step.prints, folded, now + 2)
            if at_ms % CHAIN_MS == 0:
                for one in folded.values():
                    refresh(market, one, now)
            for one in folded.values():
                one.keep()
        truth: Truth = defaultdict(list)
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if entry["con_id"] in folded:
                truth[entry["kind"]].append(entry)
    return folded, truth


def take(prints: Iterable[Print], folded: dict[int, Folded], now: int) -> None:
    for made in prints:
        if made.con_id in folded:
            folded[made.con_id].print(made, now)


def show(market: SimulatedMarket, con_id: int, folded: Folded, now: int) -> None:
    quote, depth = market.quote(con_id), market.book(con_id)
    if quote:
        folded.state.apply(QuoteEvent(folded.next(), now, now, quote.bid, quote.bid_size, quote.ask, quote.ask_size), HOURS)
    if depth:
        bids, asks = (
            consolidate((Row(r.price, r.size, venue_name(r.venue), r.market_maker) for r in side), descending=side is depth.bids)
            for side in (depth.bids, depth.asks)
        )
        folded.state.apply(BookEvent(folded.next(), now, now, True, bids, asks, 0, 0), HOURS)


def show_makers(market: SimulatedMarket, con_id: int, folded: Folded, now: int) -> None:
    """NASDAQ's own book, as its own depth line shows it."""
    if depth := market.book(con_id):
        bids, asks = (
            tuple(MakerRow(r.price, r.size, r.market_maker) for r in side if r.market_maker) for side in (depth.bids, depth.asks)
        )
        folded.state.apply(MakersEvent(folded.next(), now, now, True, bids, asks, checksum(bids, asks), 0), HOURS)


def refresh(market: SimulatedMarket, folded: Folded, now: int) -> None:
    """The chain as the vendor tells it, every five seconds."""
    state, chain = folded.state, chain_of(market, folded.state.symbol, now)
    state.hedging.options(folded.chain, chain, state.flow.slots, state.flow.since_ns)
    folded.chain = chain
    if state.hedging.reading.p is not None:
        folded.looks.append((now, state.hedging.reading))


def grade(name: str, found: list[Any], true: list[dict[str, Any]], same: Callable[[Any, dict[str, Any]], bool]) -> None:
    """Prints precision (found that are true) and recall (true that were found)."""
    right = sum(any(same(one, truth) for truth in true) for one in found)
    seen = sum(any(same(one, truth) for one in found) for truth in true)
    precision = f"{right / len(found):.3f}" if found else "none found"
    recall = f"{seen / len(true):.3f}" if true else "none true"
    print(f"{name:<34} precision {precision:>10} ({right}/{len(found)})   recall {recall:>9} ({seen}/{len(true)})")


def detectors(folded: dict[int, Folded], truth: Truth) -> None:
    def tagged(name: str) -> list[tuple[int, Any]]:
        return [(con_id, one) for con_id, f in folded.items() for one in getattr(f, name).values()]

    def same_iceberg(one: tuple[int, Iceberg], t: dict[str, Any]) -> bool:
        con_id, i = one
        return (
            con_id == t["con_id"]
            and i.side == ("bid" if t["side"] == 1 else "ask")
            and abs(i.price - t["price"]) < 1e-6
            and i.venue == venue_name(t["venue"])
            and i.first_ns <= t["ts_ns"] + SLACK_NS
            and i.last_ns >= t["from_ns"] - SLACK_NS
        )

    def same_hidden(one: tuple[int, HiddenExecution], t: dict[str, Any]) -> bool:
        con_id, x = one
        return con_id == t["con_id"] and x.ts_ns == t["ts_ns"] and abs(x.price - t["price"]) < 1e-6

    def sweep_then(one: tuple[int, Sweep], t: dict[str, Any]) -> bool:
        con_id, s = one
        return bool(con_id == t["con_id"] and s.first_ns - SLACK_NS <= t["ts_ns"] <= s.last_ns + SLACK_NS)

    def same_sweep(one: tuple[int, Sweep], t: dict[str, Any]) -> bool:
        return sweep_then(one, t) and one[1].side == ("buy" if t["side"] == 1 else "sell")

    icebergs = [t for t in truth["iceberg"] if t["refills"] >= MIN_REFILLS]  # what was never shown again is none to be seen
    for least in (2, 3, 5):
        grade(f"icebergs, refills >= {least}", [o for o in tagged("icebergs") if o[1].refills >= least], icebergs, same_iceberg)
    for name, behind in (("alone at its venue", False), ("behind others there", True)):
        true = [t for t in icebergs if bool(t["ahead"]) == behind]
        seen = sum(any(same_iceberg(one, t) for one in tagged("icebergs")) for t in true)
        print(f"{f'icebergs, {name}':<62} recall {seen / max(1, len(true)):>9.3f} ({seen}/{len(true)})")
    for sure in (0.0, 0.5, 1.0):
        grade(
            f"hidden, confidence >= {sure}",
            [o for o in tagged("hidden") if o[1].confidence >= sure],
            truth["hidden"],
            same_hidden,
        )
    grade("sweeps, of whichever side", tagged("sweeps"), truth["sweep"], sweep_then)
    grade("sweeps, all", tagged("sweeps"), truth["sweep"], same_sweep)
    for rule in ("iso", "venues", "levels"):
        grade(f"sweeps, rule {rule}", [o for o in tagged("sweeps") if o[1].rule == rule], truth["sweep"], same_sweep)
    for least in (0.25, 0.5, 0.75):
        found = [(c, f.sweeps[at]) for c, f in folded.items() for at, strength in f.strengths.items() if strength >= least]
        grade(f"sweeps, strength >= {least}", found, truth["sweep"], same_sweep)


def makers(folded: dict[int, Folded], truth: Truth, start_ns: int) -> None:
    """Of what begins once the detector knows what is usual, and ends before the run does."""
    warm_ns = start_ns + int(WARM_SECONDS * 1e9)
    true = [
        t
        for t in truth["maker"]
        if t["ts_ns"] >= warm_ns and t["end_ns"] <= max(f.state.received_ns or 0 for f in folded.values())
    ]
    slack = int(2 * FAST_SECONDS * 1e9)
    for what in ("leans", "away"):
        for least in (0.0, 10.0, 20.0):
            found = [
                (c, m) for c, f in folded.items() for m in f.moves.values()
                if m.what == what and m.last_ns - m.from_ns >= least * 1e9 and m.from_ns >= warm_ns
            ]  # fmt: skip
            grade(
                f"makers, {what} for {least:g} s",
                found,
                [t for t in true if t["what"] == what],
                lambda one, t: (
                    one[0] == t["con_id"] and one[1].maker == t["maker"]
                    and one[1].side == {1: "bid", -1: "ask", 0: ""}[t["side"]]
                    and one[1].from_ns <= t["end_ns"] + slack and one[1].last_ns >= t["ts_ns"]
                ),
            )  # fmt: skip


def hedging(folded: dict[int, Folded], truth: Truth) -> None:
    """A look is right where its window holds half a minute of a hedge, in the hedges' direction (the stock with the options);
    how many would be right by saying so always stands beside it. A hedge is found by a signal until a minute after it."""
    looks = [(con_id, at, reading) for con_id, one in folded.items() for at, reading in one.looks]
    newest = max((at for _, at, _ in looks), default=0)

    def followed(t: dict[str, Any]) -> int:
        return int(t["end_ns"] + t["lag_seconds"] * 1e9)

    def holds(con_id: int, at: int, reading: Reading) -> bool:
        first = at - int(reading.seconds * 1e9)
        hedges = (t for t in truth["hedge"] if t["con_id"] == con_id)
        return any(min(at, followed(t)) - max(first, t["ts_ns"]) >= 30e9 for t in hedges)

    def found(t: dict[str, Any], signals: list[tuple[int, int, Reading]]) -> bool:
        during = (r for c, at, r in signals if c == t["con_id"] and t["ts_ns"] + 30e9 <= at <= followed(t) + 60e9)
        return any(r.sign > 0 for r in during)

    always = sum(holds(*look) for look in looks)
    ended = [t for t in truth["hedge"] if followed(t) + 60e9 <= newest]
    for most_p in (0.05, 0.01, 0.001):
        signals = [look for look in looks if look[2].sign and (look[2].p or 0.0) <= most_p]
        right = sum(look[2].sign > 0 and holds(*look) for look in signals)
        seen = sum(found(t, signals) for t in ended)
        precision = f"{right / len(signals):.3f}" if signals else "none found"
        recall = f"{seen / len(ended):.3f}" if ended else "none true"
        print(
            f"{f'hedging, p <= {most_p:g}':<34} precision {precision:>10} ({right}/{len(signals)}; always: {always}/{len(looks)})"
            f"   recall {recall:>9} ({seen}/{len(ended)})"
        )


def lobster() -> None:
    """Hidden executions (type 5) among the executions of a real tape, by the quote before each; one order's counted once."""
    if not LOBSTER.is_dir():
        print("LOBSTER: the sample is absent, skipped")
        return
    messages, books = (list(csv.reader(next(LOBSTER.glob(f"*_{name}_*.csv")).open())) for name in ("message", "orderbook"))
    detector, true, visible = HiddenDetector(), set(), set()
    found: dict[tuple[int, float], None] = {}
    for message, before in zip(messages[1:], books, strict=False):
        at, kind, price, resting = int(float(message[0]) * 1e9), int(message[1]), int(message[4]) / 10_000, int(message[5])
        if kind not in (4, 5):
            continue
        (true if kind == 5 else visible).add((at, price))
        bid, ask = int(before[2]) / 10_000, int(before[0]) / 10_000
        detector.quote(at - 1, bid, ask)
        detector.add(at, price, float(message[3]), "NASDAQ", "sell" if resting == 1 else "buy", bid, ask, ts_ns=at)
        found |= dict.fromkeys((x.ts_ns, x.price) for x in detector.executions)
    right = len(found.keys() & true)
    print(f"LOBSTER AAPL: {len(true)} hidden and {len(visible)} visible executions")
    print(
        f"  precision {right / max(1, len(found)):.3f} ({right}/{len(found)})"
        f"   recall {right / len(true):.3f} ({right}/{len(true)})"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--minutes", type=float, default=10.0)
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--symbols", default="SPY,QQQ,IWM")
    arguments.add_argument("--turn-ms", type=int, default=TURN_MS, choices=(5, 10, 25, 50, 100), help="how often it is received")
    asked = arguments.parse_args()
    for depth_first in (False, True):
        order = "quotes and books before their prints" if depth_first else "prints before the book moves"
        print(f"{asked.minutes:g} min of {asked.symbols}, seed {asked.seed}, turns of {asked.turn_ms} ms, {order}")
        folded, truth = simulate(
            asked.minutes, asked.seed, asked.symbols.split(","), depth_first=depth_first, turn_ms=asked.turn_ms
        )
        detectors(folded, truth)
        if not depth_first:  # which of them comes first is nothing to these
            makers(folded, truth, START_NS)
            hedging(folded, truth)
    lobster()


if __name__ == "__main__":
    main()
