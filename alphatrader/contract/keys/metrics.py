"""What is measured on the market: `metrics:*` and the state they are folded in. Written by analytics."""

from __future__ import annotations

from typing import Any, Final

from alphatrader.contract.key import Key
from alphatrader.contract.keys.declaring import DATA, STREAM, VALUE, declare
from alphatrader.contract.messages import metrics as a
from alphatrader.contract.modules import Module as M

_MEASURED = (M.SIGNALS, M.RISK, M.DISTRIBUTION, M.WATCHDOG)
_METRIC: Final[dict[str, Any]] = {"server": DATA, "ttl": 5.0, "plan": True}
METRICS_VPIN = declare("metrics:{symbol}:vpin", VALUE, a.Metric, M.ANALYTICS, _MEASURED, "Order-flow toxicity", **_METRIC)
METRICS_OBI = declare("metrics:{symbol}:obi", VALUE, a.Metric, M.ANALYTICS, _MEASURED, "Book imbalance and its parts", **_METRIC)
METRICS_GEX = declare("metrics:{symbol}:gex", VALUE, a.Metric, M.ANALYTICS, _MEASURED, "Gamma exposure, walls, flip", **_METRIC)
METRICS_DEX = declare("metrics:{symbol}:dex", VALUE, a.Metric, M.ANALYTICS, _MEASURED, "Delta exposure", **_METRIC)
METRICS_SWEEP = declare("metrics:{symbol}:sweep", VALUE, a.Metric, M.ANALYTICS, _MEASURED, "Sweeps across venues", **_METRIC)
METRICS_HIDDEN = declare(
    "metrics:{symbol}:hidden", VALUE, a.Metric, M.ANALYTICS, _MEASURED, "Hidden and iceberg orders", **_METRIC
)
METRICS_REGIME = declare("metrics:{symbol}:regime", VALUE, a.Metric, M.ANALYTICS, _MEASURED, "Market regime", **_METRIC)
METRICS_MAKERS = declare(
    "metrics:{symbol}:makers",
    VALUE,
    a.Metric,
    M.ANALYTICS,
    _MEASURED,
    "Attributed displayed interest of market makers",
    server=DATA,
    ttl=5.0,
)
METRICS: Final[dict[str, Key[a.Metric]]] = {
    "vpin": METRICS_VPIN,
    "obi": METRICS_OBI,
    "gex": METRICS_GEX,
    "dex": METRICS_DEX,
    "sweep": METRICS_SWEEP,
    "hidden": METRICS_HIDDEN,
    "regime": METRICS_REGIME,
    "makers": METRICS_MAKERS,
}
"""By the name that each message bears."""
EVENTS_METRICS = declare(
    "events:metrics",
    STREAM,
    a.MetricsEvent,
    M.ANALYTICS,
    (M.SIGNALS,),
    "A symbol's metrics changed; at most 10 a second a symbol",
    server=DATA,
    maxlen=10_000,
)
CHECKPOINT = declare(
    "checkpoint:{symbol}",
    VALUE,
    a.Checkpoint,
    M.ANALYTICS,
    (),
    "Analytics' folded state with the stream id it stands at",
    server=DATA,
)
CHECKPOINT_VPIN_HISTORY = declare(
    "checkpoint:{symbol}:vpin_history",
    VALUE,
    a.VpinHistory,
    M.ANALYTICS,
    (),
    "VPIN by session, which its percentile is ranked in; outlives the checkpoint's version",
    server=DATA,
)
