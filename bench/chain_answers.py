"""An Alpha Vantage REALTIME_OPTIONS answer of any size, as bytes: every field a string, as the vendor writes it. Seeded."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from random import Random

SYMBOL = "SPY"
SPOT = 660.0
DAY = date(2026, 11, 18)
NOW_NS = int(datetime(2026, 11, 18, 15, 0, tzinfo=UTC).timestamp()) * 1_000_000_000
RATE = 0.04


def answer(contracts: int, seed: int = 5) -> bytes:
    """A chain of `contracts` rows over 20 expiries, strikes of $1 around the spot."""
    random = Random(seed)
    expiries = [DAY + timedelta(days=2 + 7 * i) for i in range(20)]
    strikes = contracts // (2 * len(expiries))
    rows = []
    for expiry in expiries:
        for number in range(strikes):
            strike = SPOT - strikes // 2 + number
            for kind in ("call", "put"):
                mark = max(0.01, abs(SPOT - strike) * random.random())
                rows.append(
                    {
                        "contractID": f"{SYMBOL}{expiry:%y%m%d}{kind[0].upper()}{round(strike * 1000):08d}",
                        "symbol": SYMBOL,
                        "expiration": expiry.isoformat(),
                        "strike": f"{strike:.2f}",
                        "type": kind,
                        "last": f"{mark:.2f}",
                        "mark": f"{mark:.2f}",
                        "bid": f"{mark * 0.99:.2f}",
                        "bid_size": str(random.randrange(1, 400)),
                        "ask": f"{mark * 1.01:.2f}",
                        "ask_size": str(random.randrange(1, 400)),
                        "volume": str(random.randrange(0, 5000)),
                        "open_interest": str(random.randrange(0, 20000)),
                        "date": DAY.isoformat(),
                        "implied_volatility": f"{0.12 + abs(SPOT - strike) / 2000 + random.random() * 0.01:.5f}",
                        "delta": f"{random.random() * (1 if kind == 'call' else -1):.5f}",
                        "gamma": f"{random.random() * 0.05:.5f}",
                        "theta": f"{-random.random():.5f}",
                        "vega": f"{random.random():.5f}",
                        "rho": f"{random.random():.5f}",
                    }
                )
    return json.dumps({"endpoint": "Realtime Options", "message": "success", "data": rows}).encode()


def closes(expiries: set[str]) -> dict[str, int]:
    """Expiry YYYYMMDD -> 16:00 New York (winter time) as nanoseconds."""
    return {e: int(datetime(int(e[:4]), int(e[4:6]), int(e[6:]), 21, tzinfo=UTC).timestamp()) * 1_000_000_000 for e in expiries}
