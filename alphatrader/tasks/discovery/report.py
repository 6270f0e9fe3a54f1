"""What discovery found, for a person: `data/<mode>/reports/discovery-DATE.md`, with plots beside it.

What changed and why comes first, then what waits, then every value with its sample. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from alphatrader.contract.messages.metrics import Parameter
from alphatrader.core.discovery.found import PARAMETERS, Found, Matrix, measured, measured_matrix
from alphatrader.core.discovery.jumps import Change, said
from alphatrader.runtime.clock import exchange_datetime

TITLES: Final = {
    "vpin_bucket_size": "VPIN bucket size",
    "lookback_bars": "Lookback",
    "mm_profiles": "Displayed interest by name",
    "vol_regimes": "Volatility states",
}
READ_AS: Final = {
    "vpin_bucket_size": (
        "How much volume fills one bucket of VPIN: fifty trades of the size that carries most volume (trade sizes fall "
        "into clusters), but no less than a 200th and no more than a 20th of the average day. Confidence: how far the "
        "clusters lie apart (the silhouette; 1 is best)."
    ),
    "lookback_bars": (
        "For how many one-minute bars a move still tells of the next ones: the largest lag at which the autocorrelation "
        "of returns, or of their size, stands out of noise, before three in a row that do not; no less than 5 and no more "
        "than 120. Confidence: how well the two halves of the data agree, the smaller answer over the larger."
    ),
    "mm_profiles": (
        "Who shows interest near the best price, by market maker or exchange: what is displayed under a name, not who "
        "traded. The percentage is the share of time within three ticks of the best on both sides. Confidence: the "
        "recorded time as a share of a whole session."
    ),
    "vol_regimes": (
        "How many levels of volatility the five-minute windows show, and what each is a year. The number with the least "
        "BIC (Bayes' information criterion: fit, less a price for each further state) is taken. Confidence: the weight of "
        "that number among those tried; 1 is best."
    ),
}
"""What each table says and how its number came about, for who reads a report for the first time."""
CORRELATION_READ_AS: Final = (
    "How the symbols move together, from -1 to 1. Few returns make a noisy matrix: it is shrunk, by the share told here, "
    "towards one without any correlation (Ledoit and Wolf)."
)
COLUMNS: Final = 5
DPI: Final = 80


def write_report(
    folder: Path,
    night: str,
    settled: Found,
    changes: Sequence[Change],
    sizes: Mapping[str, Sequence[float]],
    *,
    failed: Sequence[str],
) -> str:
    """The report's file name. `sizes`: trade sizes by symbol, for the plot."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"discovery-{night}"
    plots = {
        "sizes": _sizes_plot(settled.vpin_bucket_size, sizes),
        "volatility": _volatility_plot(settled.vol_regimes),
        "correlation": _correlation_plot(settled.correlation_matrix),
    }
    drawn = []
    for what, figure in plots.items():
        if figure is not None:
            figure.savefig(folder / f"{name}-{what}.png", dpi=DPI)
            drawn.append(what)
    beside = folder / f"{name}.new"
    beside.write_text("\n".join(_text(name, night, settled, changes, failed, drawn)) + "\n")
    beside.replace(folder / f"{name}.md")
    return f"{name}.md"


def _text(
    name: str, night: str, found: Found, changes: Sequence[Change], failed: Sequence[str], drawn: Sequence[str]
) -> list[str]:
    took = [change for change in changes if change.took_effect]
    held = [change for change in changes if not change.took_effect]
    lines = [
        f"# Discovery of {night}",
        "",
        f"Computed {_instant(found.as_of_ns)} New York. {_counted(took, 'value')} changed, {_counted(found.waiting, 'jump')} "
        f"{'waits' if len(found.waiting) == 1 else 'wait'}, {_counted(failed, 'computation')} failed.",
        "",
        "## What changed, and why",
        "",
    ]
    lines += _changes(took) or ["Nothing: everything measured is about what it was."]
    lines += ["", "## What jumped and waits", ""]
    lines += _changes(held) or ["Nothing."]
    if found.waiting:
        lines += [
            "",
            "A jump takes effect when a later night finds about the same again, or at once with `alphatrader discover --accept`.",
        ]
    if failed:
        lines += ["", "## What failed", "", *(f"- {one}" for one in failed)]
    for parameter in PARAMETERS:
        lines += ["", f"## {TITLES[parameter]}", "", READ_AS[parameter], "", *_table(parameter, getattr(found, parameter))]
        if parameter == "vpin_bucket_size" and "sizes" in drawn:
            lines += ["", f"![Trade sizes and their clusters]({name}-sizes.png)"]
        if parameter == "vol_regimes" and "volatility" in drawn:
            lines += ["", f"![Volatility of each state]({name}-volatility.png)"]
    lines += ["", "## Correlation of five-minute returns", "", CORRELATION_READ_AS, "", _matrix_line(found.correlation_matrix)]
    if "correlation" in drawn:
        lines += ["", f"![Correlation matrix]({name}-correlation.png)"]
    return lines


def _counted(things: Sequence[Any], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _changes(changes: Sequence[Change]) -> list[str]:
    return [
        f"- **{change.symbol or 'all symbols'}**, {TITLES.get(change.parameter, 'Correlation')}: "
        f"{change.before} became {change.after}: {change.why}."
        for change in changes
    ]


def _table(name: str, by_symbol: Mapping[str, Parameter]) -> list[str]:
    head = ["| Symbol | In effect | Sample | From | To | Confidence | How |", "|---|---|---|---|---|---|---|"]
    return head + [
        f"| {symbol} | {said(name, one)} | {one.n:,} | {_instant(one.from_ns)} | {_instant(one.to_ns)} "
        f"| {'-' if one.confidence is None else f'{one.confidence:.2f}'} | {_how(name, one)} |"
        for symbol, one in by_symbol.items()
    ]


def _how(name: str, one: Parameter) -> str:
    if one.fallback is not None:
        return one.fallback.replace("|", "/")
    detail = one.detail
    if name == "vpin_bucket_size":
        found = f"{detail['k']} clusters ({detail['method']}), 50 trades of the heaviest: {detail['proposed']:,}"
        return found + _held(one.value, detail["proposed"], "a 200th of the average day", "a 20th of the average day")
    if name == "lookback_bars":
        found = f"largest lag that stands out: {detail['signed']} of returns, {detail['size']} of their size"
        return found + _held(one.value, max(detail["signed"], detail["size"]), "the least", "the most")
    if name == "mm_profiles":
        most = sorted(detail["profiles"].items(), key=lambda item: -item[1]["presence"])[:3]
        return f"{detail['seconds'] / 60:.0f} minutes; most present: " + ", ".join(f"{n} {p['presence']:.0%}" for n, p in most)
    bics = [f"{bic:.0f}" for bic in detail["bic"]]
    return f"BIC of {', '.join(str(states) for states in range(1, len(bics) + 1))} states: {', '.join(bics)}"


def _held(value: float | None, found: float, least: str, most: str) -> str:
    """Why a value is not what was found: it was held within its bounds."""
    if value is None or value == found:
        return ""
    return f", raised to {least}" if value > found else f", lowered to {most}"


def _matrix_line(matrix: Matrix) -> str:
    sure = "" if matrix.confidence is None else f", shrunk by {1 - matrix.confidence:.0%}"
    note = "" if measured_matrix(matrix) and matrix.fallback is None else f" ({matrix.fallback})"
    span = f"{_instant(matrix.from_ns)} to {_instant(matrix.to_ns)}"
    return f"{len(matrix.symbols)} symbols, {matrix.n} shared returns{sure}, {span}{note}."


def _instant(ts_ns: int | None) -> str:
    return "-" if ts_ns is None else f"{exchange_datetime(ts_ns):%Y-%m-%d %H:%M}"


# -- plots: a Figure of its own each, no window system and no global state ------------------------------------------------------


def _sizes_plot(found: Mapping[str, Parameter], sizes: Mapping[str, Sequence[float]]) -> Figure | None:
    shown = [symbol for symbol, one in found.items() if measured(one) and len(sizes.get(symbol, ())) > 1]
    if not shown:
        return None
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(13, 2.1 * rows))
    figure.subplots_adjust(left=0.03, right=0.99, top=1 - 0.3 / (2.1 * rows), bottom=0.5 / (2.1 * rows), hspace=0.5)
    places = np.atleast_1d(figure.subplots(rows, COLUMNS)).ravel()
    for empty in places[len(shown) :]:
        empty.set_visible(False)
    for axes, symbol in zip(places, shown, strict=False):
        logs = np.log10(np.maximum(np.asarray(sizes[symbol], dtype=np.float64), 1e-9))
        axes.hist(logs, bins=40, color="#9db4c8")
        for cluster in found[symbol].detail.get("clusters", ()):
            axes.axvline(np.log10(cluster["centre"]), color="#b5533c", linewidth=0.6 + 2.0 * cluster["volume_share"])
        axes.set_title(f"{symbol}: {said('vpin_bucket_size', found[symbol])}", fontsize=8)
        axes.tick_params(labelsize=6)
    figure.supxlabel("log10 of trade size; lines are clusters, as thick as their share of volume", fontsize=8, y=0.0, va="bottom")
    return figure


def _volatility_plot(found: Mapping[str, Parameter]) -> Figure | None:
    shown = [symbol for symbol, one in found.items() if one.detail.get("states")]
    if not shown:
        return None
    figure = Figure(figsize=(13, 3.2))
    figure.subplots_adjust(left=0.05, right=0.99, top=0.9, bottom=0.12)
    axes = figure.subplots()
    for place, symbol in enumerate(shown):
        for state in found[symbol].detail["states"]:
            axes.scatter(place, 100 * state["vol"], s=20 + 160 * state["weight"], color="#b5533c", alpha=0.7)
    axes.set_xticks(range(len(shown)), shown, fontsize=8)
    axes.set_yscale("log")
    axes.set_ylabel("% a year", fontsize=8)
    axes.set_title("Volatility of each state; as large as its share of time", fontsize=9)
    return figure


def _correlation_plot(matrix: Matrix) -> Figure | None:
    if not matrix.symbols:
        return None
    figure = Figure(figsize=(8, 7))
    axes = figure.subplots()
    image = axes.imshow(np.array(matrix.matrix), vmin=-1.0, vmax=1.0, cmap=mpl.colormaps["RdBu"])
    axes.set_xticks(range(len(matrix.symbols)), matrix.symbols, rotation=90, fontsize=7)
    axes.set_yticks(range(len(matrix.symbols)), matrix.symbols, fontsize=7)
    figure.colorbar(image)
    return figure
