"""Depth messages fold into the book they came from, in both modes, for any sequence of books."""

import random

import pytest

from alphatrader.sandbox.gateway.depth import DELETE, INSERT, restate, shift
from alphatrader.sandbox.market.types import Row


def fold(rows, changes):
    rows = list(rows)
    for operation, position, row in changes:
        if operation == INSERT:
            assert position <= len(rows)
            rows.insert(position, row)
        elif operation == DELETE:
            rows.pop(position)
        else:
            rows[position] = row
    return rows


def random_side(rng):
    keys = sorted({(rng.randrange(95, 106), rng.choice(("ISLAND", "ARCA", "BATS"))) for _ in range(rng.randrange(0, 10))})
    return [Row(float(price), rng.randrange(1, 4) * 100, venue) for price, venue in keys]


@pytest.mark.parametrize("diff", [shift, restate])
def test_changes_fold_into_the_new_book(diff):
    rng = random.Random(7)
    old = random_side(rng)
    for _ in range(3000):
        new = random_side(rng)
        if rng.random() < 0.2:
            rng.shuffle(new)
        assert fold(old, diff(old, new)) == new
        old = new


def test_shift_mode_is_minimal():
    a, b, c = (Row(price, 100, "ARCA") for price in (100.0, 99.0, 98.0))
    assert list(shift([b, c], [a, b, c])) == [(INSERT, 0, a)]
    assert list(shift([a, b, c], [b, c])) == [(DELETE, 0, a)]
    bigger = Row(99.0, 300, "ARCA")
    assert list(shift([a, b, c], [a, bigger, c])) == [(1, 1, bigger)]


def test_restate_mode_inserts_and_deletes_only_at_the_end():
    a, b, c = (Row(price, 100, "ARCA") for price in (100.0, 99.0, 98.0))
    assert list(restate([b, c], [a, b, c])) == [(1, 0, a), (1, 1, b), (INSERT, 2, c)]
    assert list(restate([a, b, c], [b, c])) == [(1, 0, b), (1, 1, c), (DELETE, 2, c)]
