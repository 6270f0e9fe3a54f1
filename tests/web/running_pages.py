"""A real pages process before servers of its own and Stripe's stand-in, and a visitor's browser in `requests`."""

from __future__ import annotations

import hmac
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import requests
from itsdangerous import URLSafeTimedSerializer

from alphatrader.contract import keys as k
from alphatrader.contract.messages.distribution import Subscriber, TelegramTier
from alphatrader.contract.messages.operations import Health
from alphatrader.contract.modules import Module
from alphatrader.runtime.settings import ROOT
from alphatrader.runtime.store import Store
from tests.support.servers import Servers, free_port, running_servers
from tests.support.vendors import CREDENTIALS, HandClock, Running, running_vendors
from tests.web.desk_market import epoch


def wait_for(what: str, holds: Callable[[], Any], seconds: float = 20.0) -> Any:
    until = time.monotonic() + seconds
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


@dataclass
class Pages:
    url: str
    servers: Servers
    vendors: Running
    log: Path
    store: Store
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    users: Iterator[int] = field(default_factory=lambda: count(5001))

    # -- life

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "alphatrader.runtime.child", "pages"],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
            )
        wait_for("the pages answer", self._answers, 20)

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.url}/", timeout=1).status_code == 200
        except requests.RequestException:
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    # -- a visitor

    def token(self, user: int) -> str:
        """As the Telegram bot signs it."""
        return str(URLSafeTimedSerializer(self.servers.vault.get("session_key") or "", salt="telegram-link").dumps(user))

    def visit(self, user: int) -> tuple[requests.Session, str]:
        session = requests.Session()
        session.headers["X-Forwarded-For"] = f"10.0.{user // 250}.{user % 250}"  # as the proxy says: each visitor has their own
        answer = session.get(f"{self.url}/subscribe", params={"telegram": self.token(user)}, timeout=10)
        assert answer.status_code == 200, answer.text
        return session, answer.text

    def press(self, user: int, path: str, **form: str) -> requests.Response:
        """Loads the visitor's page and sends one of its forms."""
        session, page = self.visit(user)
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        form |= {"telegram": self.token(user)} | ({"csrf_token": found[1]} if found else {})
        return session.post(f"{self.url}{path}", data=form, allow_redirects=False, timeout=20)

    def checkout(self, user: int, tier: str = "premium") -> str:
        """The address of the visitor's Checkout page."""
        answer = self.press(user, "/checkout", tier=tier)
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    def pay(self, address: str) -> str:
        """Pays on Checkout without coming back; the subscription's id."""
        return str(self.vendors.post(f"/stripe/sandbox/pay/{address.rsplit('/', 1)[-1]}")["subscription"])

    def subscribed(self, tier: str = "premium") -> tuple[int, str]:
        """A new visitor who has bought a tier and has it: Telegram id, subscription."""
        user = next(self.users)
        subscription = self.pay(self.checkout(user, tier))
        self.wait_tier(user, tier)
        return user, subscription

    def happen(self, subscription: str, what: str) -> None:
        self.vendors.post(f"/stripe/sandbox/{subscription}/{what}")

    # -- what Redis says

    def tier(self, user: int) -> TelegramTier | None:
        return self.store.get(k.TELEGRAM_TIER.at(id=user))

    def record(self, user: int) -> Subscriber | None:
        return self.store.field(k.SUBSCRIBERS.at(), f"telegram-{user}")

    def wait_tier(self, user: int, tier: str, seconds: float = 20.0) -> None:
        def there() -> bool:
            held = self.tier(user)
            return held is not None and held.tier == tier

        wait_for(f"{user} is {tier}", there, seconds)

    def health(self) -> Health:
        found = self.store.get(k.HEALTH.at(module="pages"))
        assert found is not None
        return found


def event(customer: str, **changes: Any) -> dict[str, Any]:
    """An event that makes the pages look at a customer."""
    made = {
        "id": f"evt_test{time.time_ns()}",
        "object": "event",
        "type": "customer.subscription.updated",
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": {"id": "sub_1", "object": "subscription", "customer": customer, "status": "active"}},
    }
    return made | changes


def send(
    pages: Pages, body: bytes, *, secret: str = CREDENTIALS.stripe_webhook_secret, age: int = 0, signature: str | None = None
) -> requests.Response:
    """Posts a webhook as Stripe signs it, or not quite."""
    t = int(time.time()) - age
    made = f"t={t},v1={hmac.new(secret.encode(), f'{t}.'.encode() + body, sha256).hexdigest()}"
    headers = {"Stripe-Signature": made if signature is None else signature, "Content-Type": "application/json"}
    return requests.post(f"{pages.url}/stripe/webhook", data=body, headers=headers, timeout=10)


@contextmanager
def running_pages(folder: Path, clock: HandClock | None = None, **overrides: str) -> Iterator[Pages]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (folder / "vendors").mkdir()
    with (
        running_servers(folder) as servers,
        epoch(servers),
        running_vendors(folder / "vendors", clock=clock, stripe_webhook_url=f"{url}/stripe/webhook") as vendors,
    ):
        store = servers.store(Module.OPERATOR)
        environment = {
            **os.environ,
            **servers.environment,
            **servers.vault.environment_for(Module.PAGES),
            "STRIPE_SECRET_KEY": CREDENTIALS.stripe_secret_key,
            "STRIPE_WEBHOOK_SECRET": CREDENTIALS.stripe_webhook_secret,
            "ALPHATRADER_VENDORS__STRIPE_URL": f"{vendors.url}/stripe",
            "ALPHATRADER_VENDORS__TIMEOUT_SECONDS": "5",
            "ALPHATRADER_VENDORS__BREAKER_RESET_SECONDS": "1",
            "ALPHATRADER_WEB__PAGES_PORT": str(port),
            "ALPHATRADER_WEB__PAGES_PROXIES": "1",
            **{f"ALPHATRADER_{name.upper()}": value for name, value in overrides.items()},
        }
        pages = Pages(url, servers, vendors, folder / "pages.log", store, environment=environment)
        try:
            pages.start()
            yield pages
        finally:
            pages.stop()
            store.close()
