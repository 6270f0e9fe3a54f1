"""The threads that heal: one reads the whole account from Stripe every `billing.poll_seconds` (and at the start, and when Redis
has lost the subscribers) and tries again what failed; the other ends access at the second at which it was to end.

A poll costs a page of 100 subscriptions each, and two calls for each customer with a running one: good for some thousands.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Final

from alphatrader.clients.sending import SendError
from alphatrader.runtime.clock import SECOND
from alphatrader.runtime.context import Context
from alphatrader.runtime.health import Heartbeat
from alphatrader.runtime.store import StoreError
from alphatrader.web.pages.billing import Billing

_LOOK_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 10.0
_FORGET_SECONDS: Final = 86_400.0
_EVENT_DAYS: Final = 30


class Keeper:
    def __init__(self, context: Context, billing: Billing, heartbeat: Heartbeat) -> None:
        self._poll_seconds = context.settings.billing.poll_seconds
        self._clock = context.clock
        self._log = context.log
        self._billing = billing
        self._heartbeat = heartbeat
        self._failed: set[str] = set()
        """Customers whose state could not be read."""
        self._next_poll = self._next_retry = self._next_forgetting = 0.0
        self._known = 0
        """Customers at the last poll."""
        self._pause = threading.Event()
        """Never set: its time-out is the pause."""

    def start(self) -> None:
        for work in (self._keep, self._keep_ends):
            threading.Thread(target=self._run, args=(work,), name=f"billing{work.__name__}", daemon=True).start()

    def failed(self, customer: str | None) -> None:
        """This customer's state could not be read: it is tried again soon, whether Stripe sends its event again or not."""
        if customer is not None:
            self._failed.add(customer)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:  # an error nobody foresaw: without this thread the pages would lie, so their worker process begins anew
            self._pause.wait(_RETRY_SECONDS)
            os.kill(os.getpid(), signal.SIGTERM)

    def _keep(self) -> None:
        while True:
            try:
                self._look()
            except SendError as error:
                self._heartbeat.degraded(f"{error}; subscribers stand as they were", "vendors")
                self._log.warning("stripe_not_reached", error=str(error))
                self._next_poll = self._clock.monotonic() + min(_RETRY_SECONDS, self._poll_seconds)
            except StoreError as error:
                self._log.warning("redis_lost", error=type(error).__name__)
                self._next_poll = 0.0
            self._pause.wait(_LOOK_SECONDS)

    def _keep_ends(self) -> None:
        """A thread of its own: a long poll or a slow Stripe delays no end."""
        loaded = False
        while True:
            try:
                if not loaded:
                    self._billing.load_ends()
                    loaded = True
                self._end_what_is_due()
            except StoreError as error:
                self._log.warning("redis_lost", error=type(error).__name__)
                loaded = False
                self._pause.wait(_LOOK_SECONDS)
            self._pause.wait(self._until_next_end())

    def _look(self) -> None:
        now = self._clock.monotonic()
        if now >= self._next_poll or (self._known and self._billing.empty()):
            self._poll()
        elif self._failed and now >= self._next_retry:
            self._next_retry = now + _RETRY_SECONDS
            self._refresh(sorted(self._failed))
        if now >= self._next_forgetting:
            self._billing.forget_events(_EVENT_DAYS)
            self._next_forgetting = now + _FORGET_SECONDS

    def _poll(self) -> None:
        customers = self._billing.read_account()
        self._refresh(sorted(self._failed.union(customers)))
        self._next_poll = self._clock.monotonic() + self._poll_seconds
        self._known = len(customers)
        self._heartbeat.count("polls")
        self._heartbeat.fact("customers with a running subscription", len(customers))

    def _refresh(self, customers: list[str]) -> None:
        """Each customer by itself: one that cannot be read does not hold the others."""
        for customer in customers:
            try:
                self._billing.refresh(customer)
            except SendError as error:
                self._failed.add(customer)
                self._heartbeat.count("customers not read")
                self._log.warning("customer_not_read", customer=customer, error=str(error))
            else:
                self._failed.discard(customer)
        self._say_how_it_is()

    def _say_how_it_is(self) -> None:
        if self._failed:
            self._heartbeat.degraded(f"{len(self._failed)} customers could not be read from Stripe; they stand as they were")
        elif self._billing.problems:
            self._heartbeat.degraded("; ".join(self._billing.problems))
        else:
            self._heartbeat.ready()

    def _end_what_is_due(self) -> None:
        now_s = self._clock.machine_ns() / SECOND
        for subscriber, ends_s in list(self._billing.ends.items()):
            if now_s >= ends_s:
                self.failed(self._billing.end(subscriber))

    def _until_next_end(self) -> float:
        """Seconds, one at most: an earlier end may become known."""
        now_s = self._clock.machine_ns() / SECOND
        first = min(list(self._billing.ends.values()), default=now_s + _LOOK_SECONDS)
        return max(0.0, min(first - now_s, _LOOK_SECONDS))
