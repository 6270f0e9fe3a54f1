"""Fifty open pages of the dashboard while 800 quotes a second change: how old a quote is when a page has it, and what it costs.

The real process under gunicorn, before servers with a morning's content; a writer at 40 times 20 quotes a second; clients that
read and acknowledge as the browser does. Nothing is queued for a page: at most four times a second it is told what stands then.
So the measure is the age of what it is told, from the write to Redis until the page has it. Meanwhile a small page is asked for,
as the halt button would be.
"""

from __future__ import annotations

import json
import selectors
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import requests
import websocket
from interleaved import title, verdict
from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.support.servers import free_port, running_servers
from tests.web.desk import Desk
from tests.web.desk_market import PRICES, epoch
from tests.web.running import Dashboard, running_dashboard

PAGES, SECONDS, TIMES_A_SECOND = 50, 10.0, 40
SETTLE_SECONDS = 2.0


class Pages:
    """Open pages, by the bare protocol: a client library would take more of the machine than what it measures."""

    def __init__(self, dashboard: Dashboard, many: int) -> None:
        self.written: dict[tuple[str, float], float] = {}
        """(quote, price) -> when it was written."""
        self.ages: list[float] = []
        """Milliseconds, of each quote that a page was told."""
        self.updates = 0
        cookies = "; ".join(f"{name}={value}" for name, value in dashboard.login().cookies.items())
        address = dashboard.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
        self._selector = selectors.DefaultSelector()
        for _ in range(many):
            page = websocket.create_connection(address, header={"Cookie": cookies}, timeout=10, suppress_origin=True)
            page.recv()
            page.send("40")
            self._selector.register(page.sock, selectors.EVENT_READ, page)

    def read(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                self._take(key.data)

    def _take(self, page: websocket.WebSocket) -> None:
        text = page.recv()
        now = time.monotonic()
        if text == "2":
            page.send("3")
        elif text.startswith("42"):
            number, _, content = text[2:].partition("[")
            page.send(f"43{number}[]")
            self.updates += 1
            for name, value in json.loads("[" + content)[1]["values"].items():
                if name.startswith("quote.") and (written := self.written.get((name, value.get("last")))) is not None:
                    self.ages.append((now - written) * 1e3)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    title(
        f"{PAGES} pages of the dashboard, {TIMES_A_SECOND * len(PRICES)} quotes a second offered, {SECONDS:g} s",
        "the clients and the writer share this machine's cores with it",
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        running_servers(Path(folder)) as servers,
        epoch(servers) as clock,
        running_dashboard(servers, free_port()) as dashboard,
    ):
        desk = Desk(servers, clock)
        desk.whole_day()
        desk.moment(0)
        store = servers.store(Module.IBKR)
        lasts = [(k.MARKET_LAST.at(symbol=symbol), store.get(k.MARKET_LAST.at(symbol=symbol))) for symbol in PRICES]
        pages, stop, waits = Pages(dashboard, PAGES), threading.Event(), []

        def write() -> None:
            """Each quote is another one: which it is can be told from its price."""
            cents = 0
            while not stop.wait(1 / TIMES_A_SECOND):
                cents += 1
                batch = store.batch()
                now = time.monotonic()
                for bound, last in lasts:
                    price = round(last.last + cents / 100, 2)
                    pages.written[f"quote.{last.symbol}", price] = now
                    batch.put(bound, replace(last, ts_ns=clock.market_ns(), last=price))
                store.commit(batch)

        def press() -> None:
            session = requests.Session()
            while not stop.wait(0.2):
                begun = time.monotonic()
                session.get(f"{dashboard.url}/healthz", timeout=5).raise_for_status()
                waits.append((time.monotonic() - begun) * 1e3)

        workers = [threading.Thread(target=work, daemon=True) for work in (write, press)]
        for worker in workers:
            worker.start()
        pages.read(SETTLE_SECONDS)
        pages.ages.clear()
        pages.updates = 0
        process = psutil.Process(dashboard.process.pid)
        family = [process, *process.children(recursive=True)]
        before = sum(sum(one.cpu_times()[:2]) for one in family)
        pages.read(SECONDS)
        cpu = sum(sum(one.cpu_times()[:2]) for one in family) - before
        stop.set()
        for worker in workers:
            worker.join()
        desk.close()
        store.close()
    print(f"   {pages.updates / PAGES / SECONDS:.1f} updates a second a page, {cpu / SECONDS:.2f} cores for the dashboard")
    ages = pages.ages
    p50, p99 = percentile(ages, 0.5), percentile(ages, 0.99)
    print(f"   age of a quote: p50 {p50:.1f} ms, p99 {p99:.1f}, most {max(ages):.1f} ({len(ages)} told)")
    print(f"   a click meanwhile: p50 {percentile(waits, 0.5):.1f} ms, most {max(waits):.1f}")
    verdict(f"{PAGES} pages, p99 of a quote's age, ms", p99, 50.0, at_most=True)


if __name__ == "__main__":
    main()
