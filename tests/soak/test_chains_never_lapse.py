"""The real pulls worker and beat on a loaded machine: for a minute of a session no `:chain` and no `:greeks` is ever absent, even
while the vendor fails.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey
from tests.flow.system import System, system_in, wait_for
from tests.soak.whole import promise

pytestmark = pytest.mark.soak
SECONDS = 60.0
REFRESH_SECONDS = 8.0
LINES = ("redis", "state", "sandbox", "ibkr", "pulls", "beat")


def _burn() -> None:
    while True:
        sum(range(10_000))


@contextmanager
def load_on_every_core() -> Iterator[None]:
    burning = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(multiprocessing.cpu_count())]
    for process in burning:
        process.start()
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.join(5)


def fault(system: System, kind: str, **more: int) -> None:
    url = f"http://127.0.0.1:{system.settings.sandbox.http_port}/sandbox/faults"
    assert requests.post(url, json={"vendor": "alphavantage", "kind": kind, **more}, timeout=10).status_code == 200


def test_the_chains_and_greeks_of_all_twelve_never_lapse(tmp_path: Path) -> None:
    with system_in(tmp_path) as system:
        # given a running worker with every chain, and load beside it
        system.start(LINES)
        symbols = system.settings.market.equities
        chains = [k.OPTIONS_CHAIN.at(symbol=symbol) for symbol in symbols]
        watched: list[BoundKey[Any]] = [*chains, *(k.OPTIONS_GREEKS.at(symbol=symbol) for symbol in symbols)]
        wait_for("every chain", lambda: all(system.store().length(key) for key in watched), 90)
        store = system.store()
        absent: list[str] = []
        oldest, stale, looks = 0.0, 0, 0
        with load_on_every_core():
            began = time.monotonic()
            troubles = [(20.0, "status", {"status": 503, "count": 6}), (40.0, "gzip_bomb", {"count": 3})]
            # when it is watched for a minute, in which the vendor fails twice
            while (passed := time.monotonic() - began) < SECONDS:
                if troubles and passed >= troubles[0][0]:
                    _, kind, more = troubles.pop(0)
                    fault(system, kind, **more)
                absent += [f"{key.name} at {passed:.1f} s" for key in watched if store.length(key) == 0]
                if looks % 10 == 0:
                    found = [chain for chain in store.get_many(chains) if chain]
                    stale += sum(chain.stale for chain in found)
                    ages = [(time.time_ns() - chain.machine_ns) / 1e9 for chain in found if not chain.stale]
                    oldest = max([oldest, *ages])
                looks += 1
                time.sleep(0.1)
        # then no key was absent at any look
        assert not absent, absent[:20]
        assert looks > 50
        promise(
            f"chains: {looks} looks at {len(watched)} keys in {SECONDS:g} s, none absent; the oldest fresh chain "
            f"{oldest:.1f} s (target {REFRESH_SECONDS:g}); {stale} seen stale while the vendor failed"
        )
