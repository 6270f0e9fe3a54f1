"""`metrics:{symbol}:makers` as a message: what `core/market/makers.py` has folded, and what `core/market/hedging.py` reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec.structs import asdict

from alphatrader.contract.messages.metrics import Metric, Parameter
from alphatrader.core.analytics.measures import AgeOf, make
from alphatrader.core.analytics.symbol import SymbolState
from alphatrader.core.market.makers import LONGEST_STAND_SECONDS, WARM_SECONDS, MakerInterest


def makers(state: SymbolState, now_ns: int, age_of: AgeOf, feed: str | None, firms: Mapping[str, str]) -> Metric:
    interest = state.makers
    interest.forget(now_ns)
    age = age_of(interest.received_ns)
    value = interest.share()
    reason = feed or interest.reason
    if reason is None and age is not None and age > 2 * LONGEST_STAND_SECONDS * 1000:
        reason = f"the book that names makers is {age / 1000:.0f} s old"
    if reason is None and value is None:
        reason = "no named maker near the best"
    return make(
        "makers",
        state,
        now_ns,
        value,
        reason,
        units="signed share of attributed size within three ticks of the best, last 10 s, -1 to 1",
        convention="+ named makers show more on the bid; displayed interest, not proof of who traded",
        n=sum(maker.bid + maker.ask > 0 for maker in interest.makers.values()),
        components={
            "makers": {name: _told(interest, name, firms) for name in sorted(interest.makers)},
            "attributed_share": _attributed(interest),
            "moves": [
                {
                    "maker": move.maker,
                    "what": move.what,
                    "side": move.side,
                    "from_ms": move.from_ns // 1_000_000,
                    "last_ms": move.last_ns // 1_000_000,
                }
                for move in interest.moves
            ],
            "moves_since_start": interest.count,
            "watched_seconds": round(interest.watched_seconds, 1),
            "hedging": {"sign": state.hedging.reading.sign, **asdict(state.hedging.reading)},
            "usual_from": "discovered" if interest.usual else f"the last ten minutes, once {WARM_SECONDS:g} s were seen",
        },
        ages={"book": age},
    )


class _Profile(msgspec.Struct):
    presence: Annotated[float, msgspec.Meta(ge=0, le=1)]


def usual_presence(profile: Parameter | None, names: Mapping[str, str]) -> dict[str, float]:
    """Share of time each named maker is near on both sides, as discovery found it; empty where it found none, or wrote what no
    profile is: then the last ten minutes say what is usual, and the metric says that they do."""
    if profile is None or profile.value is None:
        return {}
    try:
        profiles = msgspec.convert(profile.detail.get("profiles", {}), dict[str, _Profile])
    except msgspec.ValidationError:
        return {}
    return {name: profiles[name].presence for name in names if name in profiles}


def _told(interest: MakerInterest, name: str, firms: Mapping[str, str]) -> dict[str, Any]:
    maker, usual = interest.makers[name], interest.usually(name)
    now = maker.fast.both / interest.fast_seconds if interest.fast_seconds > 0 else None
    return {
        "firm": firms.get(name),
        "bid": maker.bid,
        "ask": maker.ask,
        "lean": maker.fast.lean,
        "presence": now,
        "usual_presence": usual,
        "now": "as usual" if maker.move is None else f"{maker.move.what} {maker.move.side}".strip(),
    }


def _attributed(interest: MakerInterest) -> float | None:
    whole = interest.bid + interest.ask
    return sum(maker.bid + maker.ask for maker in interest.makers.values()) / whole if whole > 0 else None
