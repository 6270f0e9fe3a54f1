"""One market for two kinds of readers: the gateway steps it on the event loop, the HTTP stand-ins read it from their threads."""

from __future__ import annotations

import threading
from typing import Any

from alphatrader.sandbox.market.types import Market

_METHODS = ("step", "contract", "contracts", "quote", "book", "bars", "expiries", "chain", "news", "pause")


class SharedMarket:
    """A `Market` whose every call holds `lock`."""

    def __init__(self, market: Market) -> None:
        self.lock = threading.RLock()
        for name in _METHODS:
            setattr(self, name, self._locked(getattr(market, name)))

    def _locked(self, method: Any) -> Any:
        lock = self.lock

        def call(*args: Any, **kwargs: Any) -> Any:
            with lock:
                return method(*args, **kwargs)

        return call
