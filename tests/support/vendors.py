"""The vendors' stand-ins running on a free port, a clock the test moves, and the webhook receiver that Stripe posts to."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from alphatrader.sandbox.vendors import VendorCredentials, VendorServer, VendorWorld, create_app
from tests.support.fixed_market import FixedMarket

NS = 1_000_000_000
MONDAY_TEN_NS = 1_795_446_000 * NS  # Monday 2026-11-23, 10:00 in New York

CREDENTIALS = VendorCredentials(
    alphavantage_key="AVKEY-SECRET-1",
    alphavantage_unentitled_key="AVKEY-SECRET-2",
    discord_webhooks={"premium": ("1001", "premium-token-secret"), "basic": ("1002", "basic-token-secret")},
    telegram_token="4242:telegram-token-secret",
    x_consumer_key="x-consumer-key",
    x_consumer_secret="x-consumer-secret",
    x_access_token="x-access-token",
    x_access_token_secret="x-access-secret",
    stripe_secret_key="sk_test_sandbox_secret",
    stripe_webhook_secret="whsec_sandbox_secret",
    stripe_webhook_url="",
    openai_key="sk-openai-secret",
)


class HandClock:
    """Machine time stands still at the instant of making until the test moves it; so does market time."""

    def __init__(self) -> None:
        self.machine, self.market_ns = time.time(), MONDAY_TEN_NS

    def machine_s(self) -> float:
        return self.machine

    def now_ns(self) -> int:
        return self.market_ns

    def advance(self, seconds: float) -> None:
        self.machine += seconds
        self.market_ns += round(seconds * NS)


@dataclass
class Running:
    url: str
    clock: HandClock
    market: Any
    credentials: VendorCredentials
    data_dir: Path

    def wire(self, **wanted: Any) -> list[dict[str, Any]]:
        """The lines of the wire log whose fields equal `wanted`."""
        lines = [json.loads(line) for line in (self.data_dir / "vendors.jsonl").read_text().splitlines()]
        return [line for line in lines if all(line[name] == value for name, value in wanted.items())]

    def told(self, **filters: Any) -> list[dict[str, Any]]:
        return requests.get(f"{self.url}/outbox.json", params=filters, timeout=5).json()["items"]

    def fault(self, vendor: str, kind: str, **more: Any) -> None:
        reply = requests.post(f"{self.url}/sandbox/faults", json={"vendor": vendor, "kind": kind, **more}, timeout=5)
        assert reply.status_code == 200, reply.text

    def post(self, path: str, **body: Any) -> Any:
        reply = requests.post(f"{self.url}{path}", json=body, timeout=10)
        assert reply.status_code == 200, reply.text
        return reply.json()


@contextlib.contextmanager
def running_vendors(
    data_dir: Path, *, clock: HandClock | None = None, market: Any = None, **credentials: Any
) -> Iterator[Running]:
    clock = clock or HandClock()
    market = market or FixedMarket(clock.now_ns())
    accepted = replace(CREDENTIALS, **credentials)
    world = VendorWorld(market, clock.now_ns, clock.machine_s, data_dir, accepted)
    server = VendorServer(create_app(world), port=0).start()
    try:
        yield Running(server.url, clock, market, accepted, data_dir)
    finally:
        server.stop()


@dataclass
class Receiver:
    """What was posted to a webhook endpoint. `statuses` are answered in turn, then 200."""

    url: str = ""
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, holds: Callable[[list[tuple[dict[str, str], bytes]]], bool], seconds: float = 20.0) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: holds(self.posts), seconds), f"only {[self.type_of(p) for p in self.posts]}"

    @staticmethod
    def type_of(post: tuple[dict[str, str], bytes]) -> str:
        body = json.loads(post[1])
        return body.get("type") or ",".join(body)

    def types(self) -> list[str]:
        with self.arrived:
            return [self.type_of(post) for post in self.posts]


@contextlib.contextmanager
def running_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with receiver.arrived:
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                receiver.posts.append((dict(self.headers.items()), body))
                receiver.arrived.notify_all()
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/webhook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(3)
