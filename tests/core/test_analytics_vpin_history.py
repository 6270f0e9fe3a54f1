"""VPIN's percentile against counting every past value, from the 20th whole session on; what is kept is bounded and comes back."""

from __future__ import annotations

import random

import pytest

from alphatrader.core.analytics.vpin_history import BINS, SESSIONS_KEPT, VpinRanks


def filled(sessions: int, seed: int = 1) -> tuple[VpinRanks, list[list[float]]]:
    """Values in the middle of their bins, where counting by bins is counting by value."""
    draw, ranks, said = random.Random(seed), VpinRanks(), []
    for session in range(sessions):
        said.append([(draw.randrange(BINS) + 0.5) / BINS for _ in range(50)])
        for value in said[-1]:
            ranks.add(session, value)
    return ranks, said


@pytest.mark.parametrize("value", [0.0, 0.2525, 0.5, 0.9975, 1.0])
def test_the_percentile_is_the_share_of_past_values_under_it_and_half_of_those_beside_it(value: float) -> None:
    # given 25 whole sessions and one that still grows
    ranks, said = filled(26)
    past = [one for session in said[:25] for one in session]
    # then the growing one does not count
    at = min(int(value * BINS), BINS - 1)
    under = sum(one * BINS < at for one in past)
    beside = sum(at <= one * BINS < at + 1 for one in past)
    rank = ranks.rank(value)
    assert (rank.n, rank.sessions, rank.reason) == (1250, 25, None)
    assert rank.percentile == pytest.approx((under + beside / 2) / 1250, abs=1e-15)


def test_there_is_none_before_twenty_whole_sessions_and_it_says_how_many_there_are() -> None:
    for sessions, whole in ((0, 0), (1, 0), (20, 19)):
        rank = filled(sessions)[0].rank(0.3)
        assert rank.percentile is None and rank.sessions == whole
        assert rank.reason == f"{whole} of 20 whole sessions of its own history"
    assert filled(21)[0].rank(0.3).percentile is not None
    assert filled(21)[0].rank(None).reason == "no VPIN to rank"


def test_what_is_kept_is_bounded_and_comes_back_as_it_was() -> None:
    ranks, said = filled(SESSIONS_KEPT + 7)
    kept = ranks.message("SPY")
    assert [one.open_ns for one in kept.sessions] == list(range(7, SESSIONS_KEPT + 7))
    assert all(sum(one.counts) == 50 for one in kept.sessions)
    back = VpinRanks(kept)
    assert back.message("SPY") == kept
    assert [back.rank(value) for value in said[-1]] == [ranks.rank(value) for value in said[-1]]
    # and a value of a session that is over changes nothing
    back.add(10, 0.5)
    assert back.message("SPY") == kept
