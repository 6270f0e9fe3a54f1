"""A feed put back from how it stood goes on as the one that never stopped: any drive, any place, the same events as bytes."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.standing import FeedStands
from alphatrader.core.market.status import Hours

NS: Final = 1_000_000_000
START: Final = 1_800_000_000 * NS
OPEN_SECONDS: Final = 20.0
"""The first session ends after so long, and the next begins: what belongs to a session is there to be carried over."""

prices = st.sampled_from((0.0, -1.0, 99.97, 99.98, 99.99, 100.0, 100.01, 100.02, 100.03, 180.0, float("nan")))
sizes = st.sampled_from((0.0, 1.0, 50.0, 100.0, 700.0))
names = st.sampled_from(("", "ARCA", "NSDQ", "ISLAND"))
places = st.integers(0, 4)
flags = st.booleans()
reasons = st.sampled_from(("reconnected", "no data"))
MESSAGES: Final[dict[str, st.SearchStrategy[tuple[Any, ...]]]] = {
    "tick_price": st.tuples(st.sampled_from((1, 2, 4, 9, 35)), prices, sizes),
    "tick_size": st.tuples(st.sampled_from((0, 3, 8, 34, 36, 61)), sizes),
    "tick_generic": st.tuples(st.just(49), st.sampled_from((-1.0, 0.0, 1.0, 2.0))),
    "tick_text": st.tuples(st.just(48), st.builds(lambda p, s: f"{p};{s:g};1800000000000;1000;100.0;true", prices, sizes)),
    "depth": st.tuples(st.integers(0, 2), places, st.integers(0, 1), prices, sizes, names, names),
    "makers.depth": st.tuples(st.integers(0, 2), places, st.integers(0, 1), prices, sizes, names, names),
    "trade": st.tuples(st.just(1_800_000_000), prices, sizes, flags, flags, names, st.sampled_from(("", "I", "T", "Q", "?"))),
    "bar": st.builds(lambda n, p: (1_800_000_000 + 5 * n, p, p, p, p, 100.0, p, 3), st.integers(0, 4), prices),
}
ORDERS: Final[dict[str, st.SearchStrategy[tuple[Any, ...]]]] = {
    "set_depth": st.tuples(flags),
    "set_makers": st.tuples(flags),
    "set_ticks": st.tuples(flags),
    "gap": st.tuples(reasons),
    "silenced": st.tuples(),
    "break_depth": st.tuples(reasons),
    "break_makers": st.tuples(reasons),
    "lose_makers": st.tuples(reasons),
    "number_from": st.tuples(st.integers(0, 50)),
}


def one_of(kinds: dict[str, st.SearchStrategy[tuple[Any, ...]]]) -> st.SearchStrategy[tuple[str, tuple[Any, ...]]]:
    return st.one_of([st.tuples(st.just(name), arguments) for name, arguments in kinds.items()])


turns = st.tuples(st.sampled_from((0.0, 0.01, 0.06, 0.3, 3.0, 11.0)), st.lists(one_of(MESSAGES | ORDERS), max_size=6))
"""(seconds since the turn before, what comes)."""
lines_on = (0.0, [("set_depth", (True,)), ("set_makers", (True,)), ("set_ticks", (True,))])
twice_told = ("trade", (1_800_000_000, 100.0, 50.0, False, False, "ARCA", ""))
quoted = [("tick_price", (1, 99.99, 100.0)), ("tick_price", (2, 100.01, 100.0))]


class Driven:
    def __init__(self) -> None:
        self.seconds = 0.0
        self.feed = SymbolFeed(
            "SPY", full=True, depth_rows=4, quiet_seconds=5.0, market_ns=lambda: START + int(self.seconds * NS),
            monotonic=lambda: self.seconds, session=hours,
        )  # fmt: skip

    def turn(self, after: float, told: list[tuple[str, tuple[Any, ...]]]) -> list[bytes]:
        self.seconds += after
        for name, arguments in told:
            to = self.feed.makers if name.startswith("makers.") else self.feed
            getattr(to, name.removeprefix("makers."))(*arguments)
        self.feed.end_of_read()
        return [msgspec.msgpack.encode(event) for event in self.feed.take_events(self.seconds)]


def hours(ts_ns: int) -> Hours:
    over = int(OPEN_SECONDS * NS)
    first = ts_ns < START + over
    begins = START - NS if first else START + over
    return Hours("one" if first else "two", begins, begins + over)


@given(st.lists(turns, max_size=12), st.lists(turns, min_size=1, max_size=12))
@example([lines_on, (0.06, [*quoted, twice_told, twice_told])], [(0.0, [("gap", ("lost",)), twice_told, twice_told, twice_told])])
@example([lines_on, (0.3, [("tick_generic", (49, 2.0)), ("tick_generic", (49, -1.0))])], [(0.3, [("tick_generic", (49, 0.0))])])
@example([(0.0, [("bar", (1_800_000_000, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1))])], [(0.0, [("bar", (1_800_000_000, *[1.0] * 6, 1))])])
@example([(0.0, [("tick_price", (1, -1.0, 0.0))])], [(0.06, [])])
@example([(0.0, quoted), (0.0, [("tick_size", (0, 700.0))] * 3)], [(0.01, []), (0.06, [])])
def test_a_feed_put_back_goes_on_as_the_one_that_never_stopped(
    before: list[tuple[float, list[tuple[str, tuple[Any, ...]]]]], after: list[tuple[float, list[tuple[str, tuple[Any, ...]]]]]
) -> None:
    lived = Driven()
    for turn in before:
        lived.turn(*turn)
    assert lived.feed.settled
    kept = msgspec.msgpack.encode(lived.feed.standing())
    again = Driven()
    again.seconds = lived.seconds
    again.feed.stand_as(msgspec.msgpack.decode(kept, type=FeedStands))
    assert msgspec.msgpack.encode(again.feed.standing()) == kept
    for turn in after:
        assert again.turn(*turn) == lived.turn(*turn)
        assert msgspec.msgpack.encode(again.feed.standing()) == msgspec.msgpack.encode(lived.feed.standing())


def test_a_feed_amid_a_read_or_with_events_untold_is_not_settled() -> None:
    driven = Driven()
    driven.feed.tick_price(1, 99.99, 100.0)
    assert not driven.feed.settled
    driven.feed.end_of_read()
    assert driven.feed.settled
    driven.feed.gap("lost")
    assert not driven.feed.settled
    driven.feed.take_events(driven.seconds)
    assert driven.feed.settled
