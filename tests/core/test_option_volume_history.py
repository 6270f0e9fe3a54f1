"""A contract's volume against its own days: known answers, and what is kept of a day. Pure functions."""

from __future__ import annotations

import pytest

from alphatrader.contract.messages.options import Chain, OptionRow, Unusual, UnusualItem
from alphatrader.core.options.volume_history import MOST_CONTRACTS, compared, grown, volumes

CALL = "SPY261218C00600000"


def item(occ: str, volume: int) -> UnusualItem:
    return UnusualItem(occ, volume, 100, 1e6, 0.8, "listed")


def scored(volume: int, days: list[int]) -> UnusualItem:
    (found,) = compared(Unusual("SPY", 0, True, (item(CALL, volume),)), {CALL: days, "SPY261218P00600000": [7] * 20}).items
    return found


@pytest.mark.parametrize(
    ("volume", "days", "z", "says"),
    [
        # mean 5, squared distances 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32, deviation sqrt(32 / 7) = 2.13809
        (14, [2, 4, 4, 4, 5, 5, 7, 9], 4.21, "4.2 standard deviations over its mean 5 of 8 days"),
        (1, [2, 4, 4, 4, 5, 5, 7, 9], -1.87, "1.9 standard deviations under its mean 5 of 8 days"),
        # mean 1000, squared distances 0 + 40000 + 40000 + 10000 + 10000, deviation sqrt(100000 / 4) = 158.114
        (3200, [1000, 1200, 800, 1100, 900], 13.91, "13.9 standard deviations over its mean 1,000 of 5 days"),
        (1000, [1000, 1200, 800, 1100, 900], 0.0, "0.0 standard deviations over its mean 1,000 of 5 days"),
    ],
)
def test_the_z_score_is_of_the_sample_of_its_own_days(volume: int, days: list[int], z: float, says: str) -> None:
    found = scored(volume, days)
    assert (found.volume_z, found.volume_days, found.volume_z_missing) == (z, len(days), None)
    assert found.why == f"listed; {says}"


@pytest.mark.parametrize(
    ("days", "missing"),
    [
        ([], "0 of the 5 days of its own history that it needs"),
        ([1000, 1200, 800, 1100], "4 of the 5 days of its own history that it needs"),
        ([1200] * 6, "its volume was 1,200 on each of its 6 days"),
    ],
)
def test_where_there_is_no_z_score_it_says_why(days: list[int], missing: str) -> None:
    found = scored(3200, days)
    assert (found.volume_z, found.volume_days, found.volume_z_missing) == (None, len(days), missing)
    assert found.why == f"listed; no z-score: {missing}"


def test_a_contract_without_any_history_is_not_compared_with_anothers() -> None:
    found = compared(
        Unusual("SPY", 0, True, (item("SPY261218C00605000", 3200), item(CALL, 14))), {CALL: [2, 4, 4, 4, 5, 5, 7, 9]}
    )
    assert [(one.occ, one.volume_z) for one in found.items] == [("SPY261218C00605000", None), (CALL, 4.21)]


def row(strike: float, volume: int) -> OptionRow:
    return OptionRow("20261218", strike, "C", 1.0, 1.1, 1.0, 1.05, volume, 100, None, None, None, None, None)


def chain(*rows: OptionRow) -> Chain:
    return Chain("SPY", 0, 0, 1.0, False, None, 0, rows)


def test_of_a_day_every_listed_contract_is_kept_also_one_that_did_not_trade() -> None:
    assert volumes(chain(row(600, 14), row(602.5, 0))) == {CALL: 14, "SPY261218C00602500": 0}


def test_of_a_chain_too_large_the_busiest_are_kept() -> None:
    kept = volumes(chain(*(row(float(n), n % 7) for n in range(1, MOST_CONTRACTS + 501))))
    assert len(kept) == MOST_CONTRACTS
    # 1,786 did not trade; the 500 that are left out are all among them
    assert sum(volume == 0 for volume in kept.values()) == 12_500 // 7 - 500


def test_a_days_volume_only_grows_and_only_what_grew_is_written() -> None:
    assert grown({"a": 5, "b": 3, "c": 0, "d": 1}, {"a": 4, "b": 3, "d": 2}) == {"a": 5, "c": 0}
