"""Scarce subscriptions: by urgency, pinned first, the nearest to a signal sooner, nobody starves; limits are learnt."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphatrader.core.market.slots import (
    BARS,
    BRIEF_SECONDS,
    DWELL_SECONDS,
    GRACE_SECONDS,
    LINES,
    PULL_SECONDS,
    RELEARN_MOST_SECONDS,
    RELEARN_SECONDS,
    RETRY_MOST_SECONDS,
    RETRY_SECONDS,
    URGENT,
    Allocation,
    Changes,
    Limit,
    Turns,
    first_lines,
)

NAMES = [f"S{i}" for i in range(7)]
nearnesses = st.dictionaries(st.sampled_from(NAMES), st.one_of(st.just(URGENT), st.floats(0, 1)), max_size=7)


def allocation(lines: int = 100, bars: int = 100, pinned: tuple[str, ...] = (), **slots: int) -> Allocation:
    return Allocation({LINES: lines, BARS: bars}, slots, pinned)


# -- lines ---------------------------------------------------------------------------------------------------------------------


def test_lines_go_to_the_most_urgent_once_each() -> None:
    assert first_lines(["held", "SPY", "held", "asked"], 2) == ["held", "SPY"]
    assert first_lines(["held"], 0) == []


def test_a_line_nobody_wants_is_kept_a_while_where_there_is_room() -> None:
    ours = allocation(lines=3)
    assert ours.lines(["SPY", "option"], [], 0.0) == Changes([], ["SPY", "option"])
    assert ours.lines(["SPY"], ["SPY", "option"], 1.0) == Changes([], [])
    assert ours.lines(["SPY"], ["SPY", "option"], 1.0 + GRACE_SECONDS) == Changes(["option"], [])
    # when somebody wants it again in between, then its time starts anew
    ours.lines(["SPY"], ["SPY", "option"], 20.0)
    ours.lines(["SPY", "option"], ["SPY", "option"], 25.0)
    assert ours.lines(["SPY"], ["SPY", "option"], 20.0 + GRACE_SECONDS) == Changes([], [])


def test_a_more_urgent_contract_takes_a_line_at_once() -> None:
    assert allocation(lines=2).lines(["held", "SPY", "asked"], ["SPY", "asked"], 0.0) == Changes(["asked"], ["held"])


@given(
    st.integers(2, 8),
    st.lists(st.tuples(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 8)), min_size=1, max_size=30),
)
def test_never_more_lines_than_the_limit_and_held_contracts_always_keep_theirs(
    most: int, turns: list[tuple[list[int], int]]
) -> None:
    # given two held contracts before everything else, whatever is asked for, and an account that sometimes grants less
    held, ours = ["h0", "h1"], allocation(lines=most)
    opened: set[str] = set()
    for turn, (asked, truth) in enumerate(turns):
        change = ours.lines([*held, *(f"o{n}" for n in asked)], opened, float(turn))
        assert not set(change.close) & set(held)
        opened -= set(change.close)
        for name in change.open:
            if len(opened) < max(2, truth):
                opened.add(name)
            else:
                ours.limit_reached(LINES, len(opened), float(turn))
                ours.refused(LINES, name, float(turn), retry_seconds=0.0)
        assert len(opened) <= most
        # then a held contract that has no line has one after the next turn: the less urgent left
        again = ours.lines([*held, *(f"o{n}" for n in asked)], opened, turn + 0.5)
        opened -= set(again.close)
        opened |= set(again.open) & set(held)
        assert set(held) <= opened and len(opened) <= most


# -- slots ---------------------------------------------------------------------------------------------------------------------


def walk(turns: Turns, capacity: int, names: list[str], seconds: int, near: dict[str, float]) -> Iterator[tuple[int, set[str]]]:
    for at in range(0, seconds, 5):
        yield at, set(turns.holders(capacity, names, float(at), near))


def test_pinned_symbols_keep_their_slots_and_come_first() -> None:
    turns = Turns(["SPY", "QQQ"])
    names = ["SPY", "QQQ", *NAMES]
    near = dict.fromkeys(NAMES, URGENT)
    assert all({"SPY", "QQQ"} <= held and len(held) == 3 for _, held in walk(turns, 3, names, 2000, near))
    assert turns.holders(1, names, 3000.0, near) == ("SPY",)
    assert turns.holders(0, names, 3000.0, near) == ()
    assert Turns(["SPY"]).holders(1, ["AAPL"], 0.0, {}) == ("AAPL",)  # what has no contract holds nothing


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(0, 2), st.lists(nearnesses, min_size=1, max_size=8))
def test_never_more_than_the_limit_no_thrash_and_nobody_starves(spare: int, pins: int, moods: list[dict[str, float]]) -> None:
    pinned = [f"P{i}" for i in range(pins)]
    turns, names = Turns(pinned), [*pinned, *NAMES]
    since: dict[str, int] = {}
    waits = dict.fromkeys(NAMES, 0)
    # each may wait until it has waited out every nearness, and then for each of the others once
    longest = PULL_SECONDS + (len(NAMES) / spare + 2) * DWELL_SECONDS
    for step in range(900):
        at, near = step * 10, moods[step // 5 % len(moods)]
        held = set(turns.holders(spare + pins, names, float(at), near))
        assert len(held) == spare + pins and set(pinned) <= held
        for name in NAMES:
            if name in held and name not in since:
                since[name] = at
            elif name not in held and name in since:
                assert at - since.pop(name) >= BRIEF_SECONDS
                waits[name] = at
            if name not in held:
                assert at - waits[name] <= longest, f"{name} starves"


def test_the_nearest_to_a_signal_comes_first_and_stays_longest() -> None:
    turns, near = Turns([]), {"S6": 0.9, "S3": 0.4}
    held_for = dict.fromkeys(NAMES, 0)
    for at, held in walk(turns, 1, NAMES, 20_000, near):
        if at == 0:
            assert held == {"S6"}
        for name in held:
            held_for[name] += 5
    ranked = sorted(held_for, key=lambda name: -held_for[name])
    assert ranked[:2] == ["S6", "S3"] and held_for["S6"] > 1.5 * held_for["S3"] and min(held_for.values()) > 0


def test_an_urgent_symbol_waits_for_no_dwell_and_two_urgent_ones_do_not_fight() -> None:
    turns = Turns([])
    assert turns.holders(1, NAMES, 0.0, {"S1": 0.5}) == ("S1",)
    urgent = {"S1": 0.5, "S2": URGENT}
    assert turns.holders(1, NAMES, BRIEF_SECONDS - 1, urgent) == ("S1",)
    assert turns.holders(1, NAMES, BRIEF_SECONDS, urgent) == ("S2",)
    both = {"S2": URGENT, "S3": URGENT}
    assert turns.holders(1, NAMES, 2 * BRIEF_SECONDS, both) == ("S2",)
    assert turns.holders(1, NAMES, BRIEF_SECONDS + DWELL_SECONDS, both) == ("S3",)


def test_fewer_slots_than_before_are_taken_from_the_farthest() -> None:
    turns, near = Turns([]), {"S0": 0.1, "S1": 0.9, "S2": 0.5}
    assert set(turns.holders(3, NAMES[:3], 0.0, near)) == {"S0", "S1", "S2"}
    assert turns.holders(1, NAMES[:3], 1.0, near) == ("S1",)


def test_without_nearness_turns_are_equal() -> None:
    held_for = dict.fromkeys(NAMES, 0)
    for _, held in walk(Turns([]), 2, NAMES, 6000, {}):
        for name in held:
            held_for[name] += 5
    assert max(held_for.values()) - min(held_for.values()) <= DWELL_SECONDS


def test_what_was_refused_stands_aside_for_longer_and_longer() -> None:
    ours = allocation(depth=1)
    assert ours.slots("depth", ["SPY", "QQQ"], [], 0.0, {"SPY": 0.9}) == Changes([], ["SPY"])
    ours.refused("depth", "SPY", 0.0)
    assert ours.slots("depth", ["SPY", "QQQ"], [], 1.0, {"SPY": 0.9}) == Changes([], ["QQQ"])
    assert ours.may_ask("depth", "SPY", RETRY_SECONDS)
    ours.refused("depth", "SPY", RETRY_SECONDS)
    assert not ours.may_ask("depth", "SPY", 3 * RETRY_SECONDS - 1) and ours.may_ask("depth", "SPY", 3 * RETRY_SECONDS)
    for _ in range(20):
        ours.refused("depth", "SPY", 0.0)
    assert ours.may_ask("depth", "SPY", RETRY_MOST_SECONDS)
    # data end the memory of it
    ours.answered("depth", "SPY")
    ours.refused("depth", "SPY", 0.0)
    assert ours.may_ask("depth", "SPY", RETRY_SECONDS)


# -- limits --------------------------------------------------------------------------------------------------------------------


def test_a_refusal_teaches_the_limit_and_one_more_is_tried_later() -> None:
    limit = Limit(5)
    limit.refused(2, at=10.0)
    assert limit.now(10.0 + RELEARN_SECONDS - 1) == 2
    assert limit.now(10.0 + RELEARN_SECONDS) == 3
    # when it is granted, then the account has grown and the next one is tried at once; when not, then later and later
    limit.granted(3, at=200.0)
    assert limit.now(200.0) == 4
    limit.refused(3, at=201.0)
    assert limit.now(201.0 + 2 * RELEARN_SECONDS - 1) == 3 and limit.now(201.0 + 2 * RELEARN_SECONDS) == 4
    # what is granted never goes over the setting
    limit.granted(9, at=400.0)
    assert limit.now(1e9) == 5


@settings(max_examples=15)
@given(st.integers(0, 6), st.integers(1, 6), st.integers(0, 6))
def test_learning_converges_on_what_the_account_has_with_few_refusals(first: int, most: int, later: int) -> None:
    ours, opened, refusals = allocation(depth=most), set[str](), list[float]()

    def live(truth: int, since: float, until: float) -> None:
        at = since
        while at < until:
            change = ours.slots("depth", NAMES, opened, at)
            opened.difference_update(change.close)
            for name in change.open:
                if len(opened) < truth:
                    opened.add(name)
                else:
                    refusals.append(at)
                    ours.limit_reached("depth", len(opened), at)
                    ours.refused("depth", name, at, retry_seconds=2.0)
            ours.granted("depth", len(opened), at)
            assert len(opened) <= min(most, truth)
            at += 5.0

    # given an account that has less than the settings say
    live(first, 0.0, 60.0)
    # then within a minute everything it has is in use, and refusals have ceased
    assert len(opened) == min(first, most) and not [at for at in refusals if at > 10]
    count = len(refusals)
    assert count <= most
    live(first, 60.0, 4 * 3600.0)
    assert len(refusals) - count <= 4 * 3600 / RELEARN_MOST_SECONDS + 5  # doubling pauses, then the longest
    # when it has another number later, then that is in use after the longest pause and a try for each
    while len(opened) > later:
        opened.pop()
    live(later, 4 * 3600.0, 4 * 3600.0 + RELEARN_MOST_SECONDS + 7 * (RELEARN_SECONDS + DWELL_SECONDS))
    assert len(opened) == min(later, most)


@pytest.mark.parametrize("kind", ["depth", LINES, BARS])
def test_a_limit_the_broker_named_is_obeyed(kind: str) -> None:
    ours = allocation(lines=9, bars=9, depth=3)
    ours.limit_reached(kind, 1, 0.0)
    assert ours.learnt(1.0)[kind] == 1
    if kind == "depth":
        assert ours.slots("depth", "ABC", ["A"], 1.0) == Changes([], [])
    elif kind == LINES:
        assert ours.lines("AB", ["A"], 1.0) == Changes([], [])
    else:
        assert ours.bars("AB", ["A"], 1.0) == Changes([], [])
