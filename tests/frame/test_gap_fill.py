"""Gaps in market streams: any stream, trimmed or skipped anywhere, is folded whole and in order where the rest can be had."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from alphatrader.contract.messages.market import Bar, BarEvent, ResendNote, Resent, StatusEvent, Trade
from alphatrader.runtime.cursor import Entry
from alphatrader.runtime.gap_fill import GapFill, Start

SECOND = 1_000_000_000
ANSWER = "resent:analytics"
HOUR = 3600 * SECOND


def trade(seq: int) -> Trade:
    at = seq * SECOND
    return Trade(seq, at, at, 100.0, 10.0, "ARCA", "@", "buy", True, True, True)


def entry(symbol: str, seq: int, event: Any = None) -> Entry[Any]:
    return Entry(f"events:market:{symbol}", f"{seq}-0", event or trade(seq))


def fill_from(seq: int | None, *, span_ns: int = HOUR, symbols: tuple[str, ...] = ("SPY",)) -> GapFill:
    start = Start("0" if seq is None else f"{seq}-0", seq, (seq or 0) * SECOND)
    return GapFill({symbol: (f"events:market:{symbol}", start) for symbol in symbols}, span_ns)


class Stream:
    """A stream that holds only a part of what was written, and a reader of it with its cursor."""

    def __init__(self, fill: GapFill, seqs: list[int], *, at: int) -> None:
        self.fill, self.held, self.at = fill, seqs, at
        self.reading = True
        self.folded: list[int] = []

    def read(self, count: int) -> None:
        found = [seq for seq in self.held if seq > self.at][:count] if self.reading else []
        if found:
            self.at = found[-1]
        self.take([entry("SPY", seq) for seq in found])

    def take(self, entries: list[Entry[Any]]) -> None:
        self.folded += [passed.event.seq for passed in self.fill.take(entries)]
        for position in self.fill.moves.values():
            self.reading = position is not None
            if position is not None:
                self.at = int(position.partition("-")[0])
        self.fill.moves.clear()


@given(
    written=st.integers(2, 60),
    folded=st.integers(0, 30),
    trimmed=st.integers(0, 60),
    skipped=st.integers(0, 40),
    count=st.integers(1, 9),
    chunk=st.integers(1, 7),
)
def test_what_was_trimmed_or_skipped_is_folded_once_and_in_order(
    written: int, folded: int, trimmed: int, skipped: int, count: int, chunk: int
) -> None:
    """The reader folded some, the stream lost its oldest, and the reader's place was pushed past others by its own error."""
    folded = min(folded, written - 1)
    fill = fill_from(folded)
    whole = list(range(1, written + 1))
    stream = Stream(fill, whole[min(trimmed, written - 1) :], at=folded + skipped)
    for _ in range(200):
        stream.read(count)
        if fill.lacking and fill.request is None:
            gap = fill.ask(1).missing["SPY"]
            # then only what the stream does not hold is asked for, and while it comes nothing of the stream is read
            assert gap.after >= folded and not [seq for seq in stream.held if gap.after < seq < gap.until] and not stream.reading
            answer: list[Any] = [Resent(1, "SPY", trade(seq)) for seq in range(gap.after + 1, gap.until)]
            answer.append(ResendNote(1, ended=True))
            for at in range(0, len(answer), chunk):
                stream.take([Entry(ANSWER, f"{at}-0", told) for told in answer[at : at + chunk]])
    seen = stream.held[-1] if stream.held[-1] > folded + skipped else None
    if seen is not None:  # something came behind the place where it stood, so it could know
        assert stream.folded == list(range(folded + 1, seen + 1))
        assert all(ended.reason is None and ended.found == ended.missing for ended in fill.ended)


@given(given_up_at=st.integers(11, 20))
def test_an_answer_that_breaks_off_leaves_the_rest_as_a_gap_that_is_told(given_up_at: int) -> None:
    fill = fill_from(10)
    stream = Stream(fill, [21, 22, 23], at=10)
    stream.read(5)
    stream.read(5)
    fill.ask(7)
    stream.take([Entry(ANSWER, "1-0", Resent(7, "SPY", trade(seq))) for seq in range(11, given_up_at)])
    # given an answer to an older request, a number that does not follow, one behind the gap: nothing of them is folded
    strays = (Resent(6, "SPY", trade(given_up_at)), Resent(7, "SPY", trade(given_up_at + 1)), Resent(7, "QQQ", trade(1)))
    stream.take([Entry(ANSWER, "2-0", stray) for stray in strays])
    stream.take([Entry(ANSWER, "3-0", ResendNote(7, ended=True, reason="a hole"))])
    stream.read(5)
    assert stream.folded == [*range(11, given_up_at), 21, 22, 23]
    (ended,) = fill.ended
    assert (ended.symbol, ended.missing, ended.found, ended.reason) == ("SPY", 10, given_up_at - 11, "a hole")
    assert fill.request is None and not fill.lacking


def test_symbols_do_not_wait_for_one_another_and_are_asked_for_together() -> None:
    fill = fill_from(5, symbols=("SPY", "QQQ", "IWM"))
    jumps = [entry("SPY", 9), entry("QQQ", 6), entry("IWM", 8), entry("QQQ", 7)]
    assert [e.event.seq for e in fill.take(jumps)] == [6, 7]
    assert fill.moves == {"events:market:SPY": "5-0", "events:market:IWM": "5-0"}
    fill.moves.clear()
    assert fill.take([entry("SPY", 9), entry("IWM", 8), entry("QQQ", 8)]) == [entry("QQQ", 8)]
    assert fill.moves == {"events:market:SPY": None, "events:market:IWM": None}
    request = fill.ask(3)
    assert {symbol: (gap.after, gap.until) for symbol, gap in request.missing.items()} == {"SPY": (5, 9), "IWM": (5, 8)}
    assert (request.since_ns, request.until_ns) == (5 * SECOND, 9 * SECOND)


def test_a_long_gap_is_told_at_once_and_so_is_every_gap_where_recovery_is_off() -> None:
    for span_ns, why in ((3 * SECOND, "long"), (0, "off")):
        fill = fill_from(10, span_ns=span_ns)
        assert fill.take([entry("SPY", 20)]) == []  # the stream is looked at again first
        fill.moves.clear()
        assert [e.event.seq for e in fill.take([entry("SPY", 20), entry("SPY", 21)])] == [20, 21]
        assert not fill.lacking and fill.ended[0].missing == 9 and why in (fill.ended[0].reason or "")


def test_copies_pass_and_a_feed_that_counts_anew_is_no_gap() -> None:
    fill = fill_from(None)
    bar = BarEvent(12, Bar(6 * SECOND, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1))
    told = [entry("SPY", 10), entry("SPY", 11), entry("SPY", 12, bar), entry("SPY", 11), entry("SPY", 13)]
    assert fill.take(told) == told
    again = StatusEvent(1, 14 * SECOND, False, 0)
    anew = [entry("SPY", 1, again), entry("SPY", 2, StatusEvent(2, 15 * SECOND, False, 0))]
    assert fill.take(anew) == anew
    assert fill.take([entry("SPY", 4, StatusEvent(4, 16 * SECOND, False, 0))]) == []
    assert fill.moves == {"events:market:SPY": "2-0"}
