"""How many bars still carry information: the autocorrelation of returns and of their size (sources.md §5).

A lag counts while |acf| stands over Bartlett's bound for white noise, 1.96/sqrt(N); the lookback is the largest lag before three
that do not, in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from statsmodels.tsa.stattools import acf

from alphatrader.contract.messages.metrics import Parameter
from alphatrader.core.discovery.bars import Floats, SessionReturns, sample

MOST_LAGS: Final = 100
QUIET_LAGS: Final = 3
LEAST, MOST, DEFAULT = 5, 120, 20
MIN_RETURNS: Final = 200
_Z: Final = 1.96


def lookback(sessions: Sequence[SessionReturns]) -> Parameter:
    """Confidence: how well the two halves of the data agree, the smaller lookback over the larger."""
    joined = np.concatenate([one.returns for one in sessions]) if sessions else np.empty(0)
    n = len(joined)
    if n < MIN_RETURNS or float(joined.std()) == 0.0:
        why = f"{n} returns, {MIN_RETURNS} are needed" if n < MIN_RETURNS else "the price did not move"
        return Parameter(
            value=DEFAULT, n=n, confidence=None, fallback=f"{why}: the default of {DEFAULT} bars", **sample(sessions)
        )
    signed, size = _memory(joined), _memory(np.abs(joined))
    found = max(signed, size)
    detail = {"signed": signed, "size": size, "bound": round(_Z / n**0.5, 6)}
    if found == 0:
        return Parameter(
            value=DEFAULT,
            n=n,
            confidence=None,
            fallback=f"no lag stands out: the default of {DEFAULT} bars",
            detail=detail,
            **sample(sessions),
        )
    value = float(min(max(found, LEAST), MOST))
    first, second = (max(_memory(half), _memory(np.abs(half))) for half in np.array_split(joined, 2))
    agreement = min(first, second) / max(first, second) if max(first, second) else 0.0
    return Parameter(value=value, n=n, confidence=round(agreement, 4), fallback=None, detail=detail, **sample(sessions))


def _memory(series: Floats) -> int:
    """The largest significant lag before three insignificant ones in a row; 0 where the first three already are."""
    if len(series) < MIN_RETURNS // 2 or float(series.std()) == 0.0:
        return 0
    correlations = acf(series, nlags=min(MOST_LAGS, len(series) // 2), fft=True)[1:]
    over = np.abs(correlations) > _Z / len(series) ** 0.5
    largest, quiet = 0, 0
    for lag, stands_out in enumerate(over.tolist(), start=1):
        if stands_out:
            largest, quiet = lag, 0
        else:
            quiet += 1
            if quiet == QUIET_LAGS:
                break
    return largest
