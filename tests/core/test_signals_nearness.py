"""How near a symbol is to a signal: alive before everything, else by the confidence its strategies still lack."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrader.core.signals.nearness import ALIVE, nearness

confidences = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=4)


def test_what_lives_is_nearest_and_no_evidence_is_far() -> None:
    assert nearness([], alive=True) == ALIVE and nearness([(80.0, 80.0)], alive=False) == 0.99
    assert nearness([], alive=False) == 0.0, "no window is open"
    assert nearness([(50.0, 80.0)], alive=False) == 0.0
    assert nearness([(65.0, 80.0), (55.0, 60.0), (50.0, 90.0)], alive=False) == pytest.approx(0.5)


@given(confidences, st.floats(0, 100), st.floats(51, 100))
def test_it_stays_between_far_and_alive_and_grows_with_confidence(
    others: list[tuple[float, float]], score: float, least: float
) -> None:
    near = nearness([*others, (score, least)], alive=False)
    assert 0.0 <= near < ALIVE
    assert nearness([*others, (min(100.0, score + 1), least)], alive=False) >= near
