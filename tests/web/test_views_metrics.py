"""What a metric's tile shows: the parts worth a look, words for what is no number, and what stands while it is not ready."""

from __future__ import annotations

from typing import Any

import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.meter import Meter
from alphatrader.web.dashboard.views.metrics import TILES, metric


def told(name: str, *, ready: bool = True, **components: Any) -> dict[str, Any]:
    value, reason = (0.5, None) if ready else (None, "no depth")
    return metric(Metric(name, "SPY", 1_000_000, ready, reason, value, "share", "", 7, components, {}))


@pytest.mark.parametrize(
    ("name", "components", "shown"),
    [
        # the parts of this metric, in their order, as far as they are known
        (
            "vpin",
            {"buckets": 50, "vpin_adj": 0.4, "percentile": 0.9, "bucket_shares": None},
            [("percentile", 0.9), ("vpin_adj", 0.4)],
        ),
        # without any of them, and for a metric that names none: the first four numbers
        ("vpin", {"buckets": 50}, [("buckets", 50)]),
        ("dex", {"a": 1, "b": True, "c": "x", "d": 2.0, "e": 3, "f": 4, "g": 5}, [("a", 1), ("d", 2.0), ("e", 3), ("f", 4)]),
        # what is a list or a map stands there in words
        (
            "makers",
            {"attributed_share": 0.2, "moves": [{"maker": "GSCO", "what": "leans", "side": "bid"}], "hedging": {"sign": 0}},
            [("attributed_share", 0.2), ("last_move", "GSCO leans bid"), ("hedging", "none: not looked at")],
        ),
    ],
)
def test_the_parts_worth_a_look(name: str, components: dict[str, Any], shown: list[Any]) -> None:
    assert told(name, **components)["shown"] == shown


def test_what_needs_none_of_the_feeds_a_metric_waits_for_is_shown_while_it_waits() -> None:
    hedging = {"sign": -1, "lag_seconds": 10, "p": 0.004}
    waiting = told("makers", ready=False, attributed_share=0.2, hedging=hedging)
    assert waiting["shown"] == [("hedging", "stock against options, 10 s later, p 0.004")]
    assert told("vpin", ready=False, percentile=0.9)["shown"] == []


def test_a_value_that_has_a_name_is_called_by_it_where_it_is_ready() -> None:
    assert told("regime", **{"class": "TREND_UP"})["name"] == "trend up"
    assert told("regime", ready=False, **{"class": "TREND_UP"})["name"] is None
    assert told("vpin", **{"class": "TREND_UP"})["name"] is None


def test_every_metric_that_is_read_has_a_tile_and_one_that_is_absent_is_not_known() -> None:
    assert set(TILES) == set(k.METRICS)
    assert metric(None) == {"known": False}


def test_the_parts_worth_a_look_are_parts_that_analytics_makes() -> None:
    for made in Meter("SPY", Analytics(), None, 5.0, 14).metrics(0, 0, lambda _: None, "20261118"):
        tile = TILES[made.metric]
        there = {*made.components, *tile.words(made.components)}
        assert {*tile.parts, *tile.lists, *([tile.name] if tile.name else [])} <= there, made.metric
