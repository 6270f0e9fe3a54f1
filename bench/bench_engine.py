"""Analytics as a whole, event bytes in, metric bytes out: what 1x, 2x, 4x, 8x events and symbols cost, which must grow in line.

Twenty symbols are 1x, each with a chain of 200 contracts that is priced again whenever its spot moves. Turns of five
milliseconds, as the engine takes them: every meter is asked whether it is due. Also what one move of the underlying costs
on a large chain. CPU time; no sockets, no Redis.
"""

from __future__ import annotations

import gc
from itertools import pairwise
from statistics import median
from time import process_time

import numpy as np
from chain_answers import NOW_NS, RATE, SPOT, SYMBOL, answer, closes
from interleaved import title, verdict

from alphatrader.clients.alphavantage.answers import chain
from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import BookEvent, Level, MarketEvent, QuoteEvent, Trade
from alphatrader.contract.messages.options import Chain
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.exposure import prepare
from alphatrader.core.analytics.flip import FlipSearch
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.analytics.options_view import OptionsView
from alphatrader.core.analytics.pricing import Pricing
from alphatrader.runtime.batch import encode
from alphatrader.runtime.store import decode

SYMBOLS, EVENTS, RATE_A_SYMBOL, TURN_NS, ROUNDS = 20, 2_000, 100, 5_000_000, 5
ROWS, LARGE = 200, 10_000
HOURS = (NOW_NS - 3_600 * 10**9, NOW_NS + 5 * 3_600 * 10**9)
CHAIN = Chain(SYMBOL, NOW_NS, 0, 1.0, False, None, 0, tuple(chain(answer(ROWS), SYMBOL, 20_000).rows))
CLOSES = closes({row.expiry for row in CHAIN.rows})
TODAY = "20261118"


def event(number: int, seq: int, at: int) -> MarketEvent:
    """Of ten events five are prints, three quotes, two books; every fourth quote moves the mid."""
    cents = number // 40 % 7
    bid, ask = round(SPOT + cents / 100, 2), round(SPOT + 0.02 + cents / 100, 2)
    if number % 10 < 5:
        side = "buy" if number & 1 else "sell"
        price = ask if number & 1 else bid
        return Trade(seq, at, at, price, 100 + number % 7, "ARCA", "", side, True, True, True, bid=bid, ask=ask)  # type: ignore[arg-type]
    if number % 10 < 8:
        return QuoteEvent(seq, at, at, bid, 100.0 + number % 9, ask, 300.0)
    levels = (tuple(Level(round(p + s * i / 100, 2), 100.0 + i) for i in range(10)) for p, s in ((bid, -1), (ask, 1)))
    return BookEvent(seq, at, at, True, *levels, 0, 0)


def streams(symbols: int, events: int) -> list[tuple[int, bytes]]:
    """(symbol, bytes) in the order of the streams."""
    seqs = [0] * symbols
    out = []
    for number in range(events):
        symbol = number % symbols
        seqs[symbol] += 1
        at = NOW_NS + number * 10**9 // (RATE_A_SYMBOL * symbols)
        out.append((symbol, encode(k.EVENTS_MARKET, event(number // symbols, seqs[symbol], at))))
    return out


def engine(symbols: int, told: list[tuple[int, bytes]]) -> float:
    """CPU microseconds an event."""
    meters = []
    for number in range(symbols):
        view = OptionsView(RATE, 0.1)
        view.take(CHAIN, CLOSES, NOW_NS)
        meters.append(Meter(f"S{number}", Analytics(), view, 5.0, 14))
        meters[-1].take_bucket_size(1000, "discovered", (), NOW_NS)
    gc.collect()
    gc.freeze()  # as a module does when it has started: what lives on is not looked through again
    start = process_time()
    turn = RATE_A_SYMBOL * symbols * TURN_NS // 10**9
    for number, at in enumerate(range(0, len(told), turn), 1):
        for symbol, content in told[at : at + turn]:
            meters[symbol].fold(decode(k.EVENTS_MARKET, content), HOURS)
        now = NOW_NS + number * TURN_NS
        for meter in meters:
            if meter.due(now):
                for metric in meter.metrics(now, now, lambda ns: None if ns is None else (now - ns) / 1e6, TODAY):  # noqa: B023
                    encode(k.METRICS[metric.metric], metric)
    taken = process_time() - start
    gc.unfreeze()
    return taken / len(told) * 1e6


def grows(what: str, sizes: list[tuple[int, int]]) -> None:
    """Interleaved; prints the cost an event at each size, the largest step, and what all doublings come to: a little at each adds
    up. The least is compared with, as the first second also prepares the chains."""
    tapes = [(symbols, streams(symbols, events)) for symbols, events in sizes]
    rounds = [[engine(symbols, told) for symbols, told in tapes] for _ in range(ROUNDS)]
    costs = [min(column) for column in zip(*rounds, strict=True)]  # what else the machine does only adds
    print(f"   us an event at 1x, 2x, 4x, 8x {what}: " + ", ".join(f"{cost:.1f}" for cost in costs))
    step = max(b / a for a, b in pairwise(costs))
    verdict(f"largest growth of the cost an event when {what} double", step, 1.25, at_most=True)
    verdict(f"cost an event at 8x {what} over the least of the four", costs[-1] / min(costs), 1.25, at_most=True)


def reprice() -> None:
    """One move of the spot on chains of 1,000 and 10,000, and the longest step of a search for the flip."""
    for rows in (1_000, LARGE):
        made = chain(answer(rows), SYMBOL, 20_000)
        prepared = prepare(made.rows, closes({row.expiry for row in made.rows}), NOW_NS)
        exact, near, built = [], [], []
        for spot in np.linspace(SPOT - 1, SPOT + 1, 100):
            pricing = Pricing(prepared, NOW_NS, RATE, TODAY)  # as once a second
            for times, move in ((exact, 0.0), (built, 0.01), (near, 0.02), (near, 0.03)):
                start = process_time()
                pricing.at(float(spot) + move)
                times.append(process_time() - start)
        search, steps = FlipSearch(prepared, SPOT, NOW_NS, RATE, 0.1), []
        while not search.done:
            start = process_time()
            search.step()
            steps.append(process_time() - start)
        print(
            f"   a move of the spot on {rows:>6} contracts: {median(near) * 1e6:4.0f} us by series, {median(exact) * 1e6:4.0f} us"
            f" exactly, {median(built) * 1e6:4.0f} us where a series begins;"
            f" the flip: {len(steps)} steps, the longest {max(steps) * 1e3:.2f} ms"
        )


def main() -> None:
    title(
        f"the analytics engine: {SYMBOLS} symbols of {RATE_A_SYMBOL} events a second each, {EVENTS} events, are 1x",
        "in one process, without sockets and Redis; CPU time",
        "of what grows, the least of the rounds; of a move, the median",
        "symbols double with their events: each symbol is told as many, at its own rate",
    )
    grows("events", [(SYMBOLS, EVENTS * factor) for factor in (1, 2, 4, 8)])
    grows("symbols", [(SYMBOLS * factor, EVENTS * factor) for factor in (1, 2, 4, 8)])
    reprice()


if __name__ == "__main__":
    main()
