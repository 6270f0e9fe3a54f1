"""This process's one Alpha Vantage client: chains and news share its breaker."""

from __future__ import annotations

import random
import threading
from functools import cache

from alphatrader.clients.alphavantage import AlphaVantage
from alphatrader.contract import keys as k
from alphatrader.runtime.budget import CallBudget
from alphatrader.runtime.celery_app import context, store

_making = threading.Lock()


def client() -> AlphaVantage:
    """Threads that come first together get the same one."""
    with _making:
        return _client()


@cache
def _client() -> AlphaVantage:
    here = context()
    return AlphaVantage(
        here.settings.options,
        here.settings.vendors,
        here.secrets.require("alphavantage_key"),
        budget=CallBudget(store(), k.AV_BUDGET.at(), k.AV_PAUSE.at(), here.settings.options.calls_per_minute),
        clock=here.clock,
        rng=random.Random(here.clock.machine_ns()),  # noqa: S311 spreads retries
    )
