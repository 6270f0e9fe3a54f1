"""A gateway on a machine that cannot keep up says so, and does not fill the terminal with it."""

from __future__ import annotations

from alphatrader.sandbox.gateway.lateness import SAY_NS, Lateness

SECOND = 1_000_000_000


def test_the_first_late_turn_is_told_at_once_and_those_of_half_a_minute_together() -> None:
    lateness, at = Lateness(), 1_795_000_000 * SECOND
    assert lateness.add(0.6, at) == "gateway is 0.6 s late: quotes are conflated, prints are not"
    assert [lateness.add(seconds, at + n * SECOND) for n, seconds in enumerate((0.7, 1.2, 0.9), 1)] == [None] * 3
    told = lateness.add(0.8, at + SAY_NS)
    assert told == "gateway was late in 4 turns of 30 s, by 1.2 s at most: quotes are conflated, prints are not"
    # and what was told is not told again
    assert lateness.add(0.5, at + 4 * SAY_NS) == "gateway is 0.5 s late: quotes are conflated, prints are not"


def test_a_clock_that_was_set_back_silences_nothing() -> None:
    lateness, at = Lateness(), 1_795_000_000 * SECOND
    lateness.add(0.6, at)
    assert lateness.add(0.7, at - 3600 * SECOND) is not None
