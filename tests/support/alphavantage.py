"""The Alpha Vantage client as its tests make it: a budget that does as it is told, one good row, answers around rows."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from alphatrader.clients.alphavantage import AlphaVantage
from alphatrader.contract.settings.market import Options
from alphatrader.contract.settings.people import Vendors
from alphatrader.runtime.clock import Clock

KEY = "AVKEY-SECRET-1"
ROW = {
    "contractID": "SPY261218C00600000",
    "symbol": "SPY",
    "expiration": "2026-12-18",
    "strike": "600.00",
    "type": "call",
    "last": "11.65",
    "mark": "11.72",
    "bid": "11.70",
    "bid_size": "10",
    "ask": "11.74",
    "ask_size": "12",
    "volume": "18",
    "open_interest": "517",
    "date": "2026-11-23",
    "implied_volatility": "0.19",
    "delta": "0.52",
    "gamma": "0.01",
    "theta": "-0.16",
    "vega": "0.60",
    "rho": "0.2",
}


class Granted(NamedTuple):
    wait_ms: int = 0
    failures: int = 0
    token: str = "a call"


@dataclass
class Purse:
    """A budget that grants what it is told to, and remembers what it heard."""

    grant: Granted = field(default_factory=Granted)
    heard: list[str] = field(default_factory=list)
    arrivals: int = 0

    def take(self) -> Granted:
        return self.grant

    def arrived(self, grant: Granted) -> None:
        assert grant is self.grant
        self.arrivals += 1

    def failed(self, stretch: float) -> None:
        assert 0.5 < stretch < 1.5
        self.heard.append("failed")

    def answered(self) -> None:
        self.heard.append("answered")


def client(
    url: str, key: str = KEY, *, vendors: Vendors | None = None, purse: Purse | None = None, **options: Any
) -> AlphaVantage:
    settings = Options(base_url=url, **options)
    return AlphaVantage(settings, vendors or Vendors(), key, budget=purse or Purse(), clock=Clock(), rng=random.Random(7))


def envelope(*rows: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({"endpoint": "Realtime Options", "message": "success", "data": list(rows), **changes}).encode()
