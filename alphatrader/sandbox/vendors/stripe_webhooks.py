"""Delivery of the Stripe stand-in's events: signed, in order, retried with back-off, durable.

A thread of its own takes what is due, signs it at that moment (`t=...,v1=hmac_sha256(secret, t.body)`) and posts it to
`stripe_webhook_url`. Anything but 2xx is tried again after 1, 2, 4 ... 60 s, 24 times at most. The same thread lets
subscriptions reach the end of their period. How deliveries misbehave is set by POST /stripe/sandbox/webhooks:

    hold        true: keep everything until it is false again
    order       normal, reversed or shuffled (of what is due together: hold first, then let go)
    duplicates  how many times more each event is sent
    signature   good, wrong (another secret) or old (ten minutes ago)
"""

from __future__ import annotations

import hmac
import json
import random
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

import requests

from alphatrader.sandbox.vendors.store import Store
from alphatrader.sandbox.vendors.wirelog import LONG_ANSWER_BYTES, WireLog, decoded
from alphatrader.sandbox.vendors.world import VendorWorld

VENDOR = "stripe"
TURN_SECONDS = 0.1
PERIOD_CHECK_SECONDS = 1.0
MOST_ATTEMPTS = 24
LONGEST_WAIT_SECONDS = 60.0
ANSWER_SECONDS = 10.0
OLD_SECONDS = 600
STOP_SECONDS = 1.5


def signature_header(body: bytes, secret: str, t: int) -> str:
    digest = hmac.new(secret.encode(), f"{t}.".encode() + body, sha256).hexdigest()
    return f"t={t},v1={digest}"


@dataclass(frozen=True, slots=True)
class Behaviour:
    hold: bool = False
    order: str = "normal"
    duplicates: int = 0
    signature: str = "good"

    def changed(self, wanted: dict[str, Any]) -> Behaviour:
        """Raises ValueError naming the field that is wrong."""
        if unknown := set(wanted) - set(asdict(self)):
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        new = replace(self, **wanted)
        if not isinstance(new.hold, bool):
            raise ValueError("hold: true or false")
        if new.order not in ("normal", "reversed", "shuffled"):
            raise ValueError("order: normal, reversed or shuffled")
        if not isinstance(new.duplicates, int) or not 0 <= new.duplicates <= 100:
            raise ValueError("duplicates: 0..100")
        if new.signature not in ("good", "wrong", "old"):
            raise ValueError("signature: good, wrong or old")
        return new


class Webhooks:
    def __init__(self, world: VendorWorld, store: Store, wire: WireLog, end_periods: Callable[[], None]) -> None:
        self._world, self._store, self._wire, self._end_periods = world, store, wire, end_periods
        self._wake = threading.Condition()
        self._behaviour = Behaviour()
        self._thread: threading.Thread | None = None
        self._random = random.Random(5)  # noqa: S311 - the shuffle is to be repeatable
        self._session = requests.Session()
        self._session.trust_env = False
        # (event id, attempts so far, machine seconds of the next one), oldest first
        self._due: list[tuple[str, int, float]] = [
            (held["event"], held["attempts"], held["next_s"]) for held in store.all(VENDOR, "delivery")
        ]

    @property
    def configured(self) -> bool:
        return bool(self._world.credentials.stripe_webhook_url)

    def queue(self, event_id: str) -> None:
        if not self.configured:
            return
        now = self._world.machine_s()
        self._store.put(VENDOR, "delivery", event_id, {"event": event_id, "attempts": 0, "next_s": now})
        with self._wake:
            self._due.append((event_id, 0, now))

    def wake(self) -> None:
        """Called once what queued events has been committed."""
        with self._wake:
            self._wake.notify_all()

    def behave(self, wanted: dict[str, Any]) -> dict[str, Any]:
        with self._wake:
            self._behaviour = self._behaviour.changed(wanted)
            self._wake.notify_all()
            return {**asdict(self._behaviour), "waiting": len(self._due)}

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="stripe-webhooks", daemon=True)
        self._thread.start()

    def stop(self) -> bool:
        """Whether the thread has ended: one that waits for an endpoint's answer is left to end with the process."""
        self.wake()
        if self._thread is not None:
            self._thread.join(timeout=STOP_SECONDS)
            if self._thread.is_alive():
                return False
        self._session.close()
        return True

    def _run(self) -> None:
        checked = float("-inf")
        while not self._world.stopping.is_set():
            now = self._world.machine_s()
            if now - checked >= PERIOD_CHECK_SECONDS or now < checked:
                checked = now
                self._end_periods()
            for event_id, attempts in self._take_due(now):
                if self._world.stopping.is_set():
                    return  # what was taken is still in the store
                self._deliver(event_id, attempts)
            with self._wake:
                if not self._world.stopping.is_set():  # set before the notice that ends the wait
                    self._wake.wait(TURN_SECONDS)

    def _take_due(self, now: float) -> list[tuple[str, int]]:
        with self._wake:
            if self._behaviour.hold:
                return []
            due = [(event_id, attempts) for event_id, attempts, at in self._due if at <= now]
            self._due = [waiting for waiting in self._due if waiting[2] > now]
            if self._behaviour.order == "reversed":
                due.reverse()
            elif self._behaviour.order == "shuffled":
                self._random.shuffle(due)
            return due

    def _deliver(self, event_id: str, attempts: int) -> None:
        event = self._store.get(VENDOR, "event", event_id)
        if event is None:
            self._store.delete(VENDOR, "delivery", event_id)
            return
        body, began = json.dumps(event, indent=2).encode(), self._world.machine_s()
        arrived = [self._post(event, body) for _ in range(1 + self._behaviour.duplicates)]
        if any(arrived):
            self._store.put(VENDOR, "event", event_id, {**event, "pending_webhooks": 0})
            self._store.delete(VENDOR, "delivery", event_id)
            return
        attempts += 1
        if attempts >= MOST_ATTEMPTS:
            self._store.delete(VENDOR, "delivery", event_id)
            return
        at = began + min(2.0 ** (attempts - 1), LONGEST_WAIT_SECONDS)
        self._store.put(VENDOR, "delivery", event_id, {"event": event_id, "attempts": attempts, "next_s": at})
        with self._wake:
            self._due.append((event_id, attempts, at))

    def _post(self, event: dict[str, Any], body: bytes) -> bool:
        secret, t = self._world.credentials.stripe_webhook_secret, int(self._world.machine_s())
        if self._behaviour.signature == "wrong":
            secret = "whsec_of_somebody_else"  # noqa: S105 - meant to be refused
        elif self._behaviour.signature == "old":
            t -= OLD_SECONDS
        url = self._world.credentials.stripe_webhook_url
        sent = (self._world.machine_ns(), self._world.now_ns())
        status, answered = None, b""
        try:
            reply = self._session.post(
                url,
                data=body,
                headers={
                    "Content-Type": "application/json; charset=utf-8",
                    "Stripe-Signature": signature_header(body, secret, t),
                    "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
                },
                timeout=ANSWER_SECONDS,
                allow_redirects=False,
            )
            status, answered = reply.status_code, reply.content
        except requests.RequestException:
            pass  # logged below as an exchange without a status, and tried again
        self._wire.write(
            {
                "vendor": VENDOR,
                "direction": "out",
                "method": "POST",
                "path": url,
                "query": {},
                "request": {"id": event["id"], "type": event["type"], "object": event["data"]["object"]["id"]},
                "status": status,
                "answer": decoded(answered, LONG_ANSWER_BYTES),
                "fault": None if self._behaviour == Behaviour() else "webhook behaviour",
                "accepted": status is not None and 200 <= status < 300,
                "received_machine_ns": sent[0],
                "answered_machine_ns": self._world.machine_ns(),
                "received_market_ns": sent[1],
                "answered_market_ns": self._world.now_ns(),
                "told": None,
            }
        )
        return status is not None and 200 <= status < 300
