"""Scarce subscriptions: by urgency, pinned first, spare ones in turn."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from alphatrader.core.market.slots import (
    DWELL_SECONDS,
    GRACE_SECONDS,
    RELEARN_SECONDS,
    RETRY_SECONDS,
    Allocation,
    Changes,
    Limit,
    Rotation,
    first_lines,
)


def test_lines_go_to_the_most_urgent_once_each() -> None:
    assert first_lines(["held", "SPY", "held", "asked"], 2) == ["held", "SPY"]
    assert first_lines(["held"], 0) == []


def test_pinned_symbols_keep_their_slots() -> None:
    rotation = Rotation(["SPY", "QQQ", "IWM"], ["SPY", "QQQ", "IWM", "AAPL"])
    assert {rotation.holders(3, at * 30.0) for at in range(20)} == {("SPY", "QQQ", "IWM")}


@given(st.integers(2, 9), st.integers(1, 8))
def test_spare_slots_rotate_fairly(others: int, capacity: int) -> None:
    names = [f"S{i}" for i in range(others)]
    rotation = Rotation(["SPY"], ["SPY", *names])
    served: Counter[str] = Counter()
    rounds = 4 * others
    for turn in range(rounds):
        holders = rotation.holders(capacity, turn * DWELL_SECONDS)
        assert holders[0] == "SPY" and len(holders) == min(capacity, others + 1) and len(set(holders)) == len(holders)
        served.update(holders[1:])
    if capacity > 1:
        assert max(served.values()) - min(served[name] for name in names) <= 1


def test_a_rotating_symbol_keeps_its_slot_for_a_while() -> None:
    rotation = Rotation([], ["A", "B"])
    first = rotation.holders(1, 0.0)
    assert rotation.holders(1, DWELL_SECONDS - 1) == first
    assert rotation.holders(1, DWELL_SECONDS) != first


def test_a_refusal_teaches_the_limit_for_a_while() -> None:
    limit = Limit(3)
    limit.refused(2, at=10.0)
    assert limit.now(11.0) == 2
    assert limit.now(10.0 + RELEARN_SECONDS) == 3


def test_a_line_nobody_wants_is_kept_a_while_where_there_is_room() -> None:
    allocation = Allocation(3, {}, [], [])
    assert allocation.lines(["SPY", "option"], [], 0.0) == Changes([], ["SPY", "option"])
    assert allocation.lines(["SPY"], ["SPY", "option"], 1.0) == Changes([], [])
    assert allocation.lines(["SPY"], ["SPY", "option"], 1.0 + GRACE_SECONDS) == Changes(["option"], [])
    # when somebody wants it again in between, then its time starts anew
    allocation.lines(["SPY"], ["SPY", "option"], 20.0)
    allocation.lines(["SPY", "option"], ["SPY", "option"], 25.0)
    assert allocation.lines(["SPY"], ["SPY", "option"], 20.0 + GRACE_SECONDS) == Changes([], [])


def test_a_more_urgent_contract_takes_a_line_at_once() -> None:
    allocation = Allocation(2, {}, [], [])
    assert allocation.lines(["held", "SPY", "asked"], ["SPY", "asked"], 0.0) == Changes(["asked"], ["held"])


def test_what_was_refused_is_asked_for_again_later() -> None:
    allocation = Allocation(2, {"depth": 1}, ["SPY"], ["SPY"])
    allocation.refused("depth", "SPY", 0.0)
    assert allocation.slots("depth", ["SPY"], [], 1.0) == Changes([], [])
    assert allocation.slots("depth", ["SPY"], [], RETRY_SECONDS) == Changes([], ["SPY"])


def test_a_limit_the_broker_named_is_obeyed() -> None:
    allocation = Allocation(9, {"depth": 3}, ["A", "B", "C"], [])
    allocation.limit_reached("depth", 1, 0.0)
    assert allocation.slots("depth", "ABC", ["A"], 1.0) == Changes([], [])
    allocation.limit_reached("quote", 1, 0.0)
    assert allocation.lines("AB", ["A"], 1.0) == Changes([], [])
