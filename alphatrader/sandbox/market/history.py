"""Historical bars, summed up from slot tables: the same rows that the running simulation shows. Used by `simulation.py`."""

from __future__ import annotations

import numpy as np

from .paths import SLOT_NS
from .tables import SlotTable
from .types import Bar

DAY_SECONDS = 86_400


def bars_of(table: SlotTable, start_ns: int, end_ns: int, bar_seconds: int) -> list[Bar]:
    """Finished bars of one session which start at or after `start_ns` and end at or before `end_ns`.

    Bars are counted from the session's open; the last of a session may be shorter. A bar of a day or more is the whole session.
    """
    session, n = table.session, table.slots
    size = n if bar_seconds >= DAY_SECONDS else min(n, max(1, bar_seconds // 5))
    edges = np.arange(0, n, size)
    bar_start = session.open_ns + edges * SLOT_NS
    bar_end = np.minimum(bar_start + size * SLOT_NS, session.close_ns)
    keep = (bar_start >= start_ns) & (bar_end <= end_ns)
    if not keep.any():
        return []
    unit = table.per_unit
    high, low = np.maximum.reduceat(table.high, edges), np.minimum.reduceat(table.low, edges)
    volume, count = np.add.reduceat(table.volume, edges, dtype=np.int64), np.add.reduceat(table.count, edges)
    value = np.add.reduceat(table.volume.astype(np.int64) * (table.open + table.high + table.low + table.close), edges)
    ends = np.minimum(edges + size, n) - 1
    columns = zip(
        bar_start[keep].tolist(), table.open[edges][keep].tolist(), high[keep].tolist(), low[keep].tolist(),
        table.close[ends][keep].tolist(), volume[keep].tolist(), value[keep].tolist(), count[keep].tolist(), strict=True,
    )  # fmt: skip
    return [
        Bar(ts, o / unit, h / unit, lo / unit, c / unit, v, x / (4 * unit * v) if v else c / unit, k)
        for ts, o, h, lo, c, v, x, k in columns
    ]
