"""From the vendor's rows to the four `options:*` messages: admit, recompute, check, sum. Pure: time and spot are arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from alphatrader.contract.messages.options import Chain, Flow, Greeks, OptionRow, Unusual
from alphatrader.contract.settings.market import Options
from alphatrader.core.options.columns import admit, occ_names
from alphatrader.core.options.flow import flow, unusual
from alphatrader.core.options.own_greeks import by_name, own_greeks
from alphatrader.core.options.quality import quality

_HARMLESS: Final = ("expired", "contractID")
"""Dropped rows that say nothing against the chain: the day's dead contracts, and adjusted ones."""


@dataclass(frozen=True, slots=True)
class Assessed:
    """What is published of one symbol. Greeks, flow and unusual are None where an earlier process knew them and they lapsed."""

    chain: Chain
    greeks: Greeks | None
    flow: Flow | None
    unusual: Unusual | None


def assess(
    symbol: str,
    rows: Sequence[OptionRow],
    dropped: Mapping[str, int],
    *,
    spot: float | None,
    ts_ns: int,
    machine_ns: int,
    close_of: Callable[[str], int | None],
    settings: Options,
    fund: bool,
) -> Assessed:
    """`dropped` are the rows the client could not read, by field. Without a spot there are no greeks, and the reason says so."""
    columns, left_out = admit(rows, ts_ns, close_of)
    all_dropped = Counter(dropped) + Counter(reason for _, reason in left_out)
    names = occ_names(symbol, columns.rows)
    mid_vol = np.full(len(names), np.nan)
    own: dict[str, tuple[float, float, float, float, float]] = {}
    if spot is not None and names:
        found = own_greeks(columns, spot, settings.risk_free_rate)
        mid_vol = found.mid_vol
        own = by_name(names, found)
    bad = sum(n for name, n in all_dropped.items() if name not in _HARMLESS)
    checked = quality(columns, spot, settings.risk_free_rate, mid_vol, bad)
    notes = []
    if all_dropped:
        notes.append("dropped " + _counts(all_dropped))
    if checked.failed:
        notes.append("failing " + _counts(checked.failed))
    if spot is None:
        notes.append("no spot: bounds, parity and greeks left out")
    least = settings.unusual_min_premium_etf_usd if fund else settings.unusual_min_premium_usd
    return Assessed(
        chain=Chain(
            symbol=symbol,
            ts_ns=ts_ns,
            machine_ns=machine_ns,
            quality=round(checked.share, 4),
            stale=False,
            reason="; ".join(notes) or None,
            dropped=sum(all_dropped.values()),
            rows=columns.rows,
        ),
        greeks=Greeks(symbol=symbol, ts_ns=ts_ns, spot=spot, quality=round(checked.share, 4), greeks=own),
        flow=flow(symbol, ts_ns, columns),
        unusual=Unusual(symbol=symbol, ts_ns=ts_ns, approximate=True, items=unusual(columns, names, least)),
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items(), key=lambda item: -item[1]))
