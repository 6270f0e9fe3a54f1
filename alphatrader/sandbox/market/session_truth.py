"""What is true of a whole session: which correlations, volatilities and sizes the market was built with. For the truth log only.

Correlation is that of the 5-second diffusion, from the factor loads (`paths.py`); episodes add moves of their own. A follower
has its leader's path.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

from .business_days import Session
from .instrument import Instrument
from .instruments import SPECS, Spec


def correlation(first: str, second: str) -> float:
    """Of the diffusion of two paths."""
    a, b = _leader(first), _leader(second)
    if a.symbol == b.symbol:
        return 1.0
    loads, others = dict(a.loads), dict(b.loads)
    shared = sum(load * others.get(factor, 0.0) for factor, load in loads.items())
    return shared / (_scale(a) * _scale(b))


def _leader(symbol: str) -> Spec:
    spec = SPECS[symbol]
    return SPECS[spec.follows] if spec.follows else spec


def _scale(spec: Spec) -> float:
    """Loads whose squares add up to more than 1 leave nothing of the instrument's own."""
    return sqrt(max(1.0, sum(load * load for _, load in spec.loads)))


def session_truth(session: Session, instruments: Iterable[Instrument]) -> dict[str, Any]:
    sizes = {
        instrument.contract.con_id: {
            "symbol": instrument.contract.symbol,
            "lot": instrument.table.lot,
            "display": instrument.table.display,
            "volume": int(instrument.table.volume.sum()),
            "prints": int(instrument.table.count.sum()),
        }
        for instrument in instruments
        if not instrument.table.is_index
    }
    symbols = list(SPECS)
    return {
        "day": str(session.day),
        "close_ns": session.close_ns,
        "symbols": symbols,
        "correlation": [[round(correlation(a, b), 6) for b in symbols] for a in symbols],
        "daily_volatility": {symbol: SPECS[symbol].daily_vol for symbol in symbols},
        "sizes": sizes,
    }
