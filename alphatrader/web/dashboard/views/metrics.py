"""A metric's tile: its value or the word for it, the parts worth a look, and why it is not ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from alphatrader.contract.messages.metrics import Metric
from alphatrader.web.dashboard.views.market import ms

_MOST_PARTS: Final = 30
_FEW: Final = 4

Components = Mapping[str, Any]


def _no_words(_components: Components) -> dict[str, str]:
    return {}


def _makers(components: Components) -> dict[str, str]:
    moves = components.get("moves") or []
    return {"last_move": "{maker} {what} {side}".format_map(moves[-1]).strip() if moves else "none"}


def _hedging(components: Components) -> dict[str, str]:
    told = components.get("hedging") or {}
    if not told.get("sign"):
        return {"hedging": f"none: {told.get('reason') or 'not looked at'}"}
    way = "with" if told["sign"] > 0 else "against"
    return {"hedging": f"stock {way} options, {told['lag_seconds']} s later, p {told['p']:.2g}"}


@dataclass(frozen=True, slots=True)
class Tile:
    """How one metric is shown."""

    parts: tuple[str, ...] = ()
    """Those worth a look, where they are known; without any the first few numbers."""
    words: Callable[[Components], dict[str, str]] = _no_words
    """Parts that are lists or maps, in words."""
    always: Callable[[Components], dict[str, str]] = _no_words
    """Words that need none of the feeds the metric waits for: shown while it is not ready, too."""
    name: str = ""
    """The part that names what the value means."""
    lists: tuple[str, ...] = ()
    """Parts that a panel of their own shows, beside the tile."""


TILES: Final[Mapping[str, Tile]] = {
    "vpin": Tile(("percentile", "bucket_shares", "vpin_adj")),
    "obi": Tile(),
    "gex": Tile(("flip", "call_wall", "put_wall", "zero_dte_1pct")),
    "dex": Tile(),
    "sweep": Tile(lists=("tape",)),
    "hidden": Tile(),
    "regime": Tile(("drift_t", "vol_percentile", "atr_1m"), name="class"),
    "makers": Tile(("attributed_share", "moves_since_start", "last_move"), words=_makers, always=_hedging),
}


def metric(message: Metric | None) -> dict[str, Any]:
    """`known` False: the key is absent, so analytics says nothing of it now."""
    if message is None:
        return {"known": False}
    tile, components = TILES[message.metric], message.components
    scalars = {name: part for name, part in components.items() if isinstance(part, int | float | str) or part is None}
    parts = dict(list((scalars | tile.words(components)).items())[:_MOST_PARTS])
    word = components.get(tile.name) if message.ready else None
    shown = (_worth(tile, parts) if message.ready else {}) | tile.always(components)
    return {
        "known": True,
        "ready": message.ready,
        "value": message.value,
        "name": str(word).replace("_", " ").lower() if word else None,
        "reason": message.reason,
        "units": message.units,
        "convention": message.convention,
        "n": message.n,
        "at_ms": ms(message.ts_ns),
        "parts": parts,
        "shown": list(shown.items()),
        "input_age_ms": message.input_age_ms,
        **{name: components.get(name) or [] for name in tile.lists},
    }


def _worth(tile: Tile, parts: Components) -> dict[str, Any]:
    known = {name: parts[name] for name in tile.parts if parts.get(name) is not None}
    numbers = [name for name, part in parts.items() if isinstance(part, int | float) and not isinstance(part, bool)]
    return known or {name: parts[name] for name in numbers[:_FEW]}
