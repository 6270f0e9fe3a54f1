"""Billing: keeps subscribers and tiers at what Stripe has now. The only writer of `subscribers`, `telegram:user:{id}:tier` and
`ledger:stripe`.

Whatever happens (a webhook of any kind, a poll, a visitor who comes back from Checkout, an end that is due) leads to the same
step: read the customer's subscriptions from Stripe, judge them (core/billing.py), write. So neither the order nor the number of
events matters, and lost ones only delay. Until Stripe has answered, what was written stands: unknown is never `free`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import msgspec

from alphatrader.clients.sending import UnreachableError
from alphatrader.clients.stripe import MissingError, StripeAccount, StripeEvent, subscriber_of
from alphatrader.contract import keys as k
from alphatrader.contract.messages.billing import Price, Subscription
from alphatrader.contract.messages.distribution import Subscriber, TelegramTier
from alphatrader.core.billing import Access, PaidTier, may_charge, offers, standing
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.clock import SECOND
from alphatrader.runtime.context import Context
from alphatrader.runtime.health import Heartbeat
from alphatrader.runtime.store import Store

_TURN_SECONDS: Final = 12.0
"""Longest wait for another thread's turn: Stripe gives a webhook's receiver about 20 s."""
_DAY: Final = 86_400


class Billing:
    def __init__(self, context: Context, store: Store, account: StripeAccount, heartbeat: Heartbeat) -> None:
        self._settings = context.settings.billing
        self._clock = context.clock
        self._log = context.log
        self._store = store
        self._account = account
        self._heartbeat = heartbeat
        self._turn = threading.Lock()
        """Held from reading Stripe to writing Redis: an older answer never overwrites a newer one."""
        self._owners: dict[str, set[str]] = {}
        self._held: dict[str, list[Subscription]] = {}
        """Subscriber -> what Stripe said last."""
        self.sold: Mapping[PaidTier, Price] = {}
        """What Stripe sells at the prices that the pages show."""
        self.problems: list[str] = []
        """What is wrong with the account's prices."""
        self._prices_read = False
        self.ends: dict[str, int] = {}
        """Subscriber -> when access ends (Unix seconds), where an end is known."""

    # -- one customer

    def refresh(self, customer: str, event: StripeEvent | None = None) -> None:
        """Writes what Stripe has now, with the event that told of it. Raises SendError or StoreError, and nothing has changed."""
        with self._my_turn():
            if event is not None and self._store.field(k.STRIPE_EVENTS.at(), event.id) is not None:
                return
            if not self._prices_read:
                self._read_prices()
            gone = False
            try:
                held = self._account.subscriptions(customer)
            except MissingError:
                held, gone = [], True
            records = self._store.fields(k.SUBSCRIBERS.at())
            concerned = {one.subscriber for one in held} | {i for i, had in records.items() if had.stripe_customer == customer}
            batch, written = self._store.batch(), {}
            for subscriber in sorted(concerned):
                self._owners.setdefault(subscriber, set()).add(customer)
                mine = [one for one in held if one.subscriber == subscriber] + self._held_elsewhere(subscriber, customer)
                written[subscriber] = self._write(batch, subscriber, mine, records.get(subscriber), None if gone else customer)
            if event is not None:
                self._note(batch, event, customer)
            self._store.commit(batch)
            for subscriber, now in written.items():
                self._tell(now, records.get(subscriber))

    def _held_elsewhere(self, subscriber: str, customer: str) -> list[Subscription]:
        """The subscriber's subscriptions under other customers."""
        found: list[Subscription] = []
        for other in sorted(self._owners.get(subscriber, set()) - {customer}):
            try:
                found += [one for one in self._account.subscriptions(other) if one.subscriber == subscriber]
            except MissingError:
                self._owners[subscriber].discard(other)
        return found

    def _write(
        self, batch: Batch, subscriber: str, held: list[Subscription], had: Subscriber | None, customer: str | None
    ) -> Subscriber:
        now_ns = self._clock.machine_ns()
        given = self._judged(held, now_ns)
        self._held[subscriber] = held
        known = [one.telegram_id for one in held if one.telegram_id is not None]
        record = Subscriber(
            id=subscriber,
            stripe_customer=given.of.customer if given.of else customer,
            stripe_subscription=given.of.id if given.of else None,
            tier=given.tier,
            status=given.status,
            period_end_s=given.of.period_end_s if given.of else None,
            telegram_id=known[0] if known else had.telegram_id if had else None,
            machine_ns=now_ns,
            until_s=given.until_s,
        )
        self._put(batch, record)
        if given.status == "unknown price":
            self._on_unknown_price(given)
        return record

    def _judged(self, held: list[Subscription], now_ns: int) -> Access:
        return standing(held, self.sold, now_ns / SECOND, self._settings.past_due_days * _DAY)

    def _put(self, batch: Batch, record: Subscriber) -> None:
        batch.put_field(k.SUBSCRIBERS.at(), record.id, record)
        if record.telegram_id is not None:
            tier = TelegramTier(record.tier, record.id, record.machine_ns, record.until_s)
            batch.put(k.TELEGRAM_TIER.at(id=record.telegram_id), tier)

    def _tell(self, record: Subscriber, had: Subscriber | None) -> None:
        if record.until_s is None:
            self.ends.pop(record.id, None)
        else:
            self.ends[record.id] = record.until_s
        before = had.tier if had else "free"
        if before != record.tier:
            self._heartbeat.count("tiers changed")
            self._log.info("tier", subscriber=record.id, tier=record.tier, before=before, status=record.status)

    def _on_unknown_price(self, given: Access) -> None:
        self._heartbeat.count("subscriptions of an unknown price")
        self._log.error("unknown_price", subscription=given.of.id if given.of else None)

    # -- events

    def apply(self, event: StripeEvent) -> None:
        """Once an event, whatever kind. Raises SendError or StoreError: Stripe shall send it again."""
        if self._store.field(k.STRIPE_EVENTS.at(), event.id) is not None:
            self._heartbeat.count("events again")
            return
        customer = event.customer
        if customer is None and event.charge is not None:
            customer = self._account.customer_of_charge(event.charge)
        if customer is not None:
            self.refresh(customer, event)
        else:
            batch = self._store.batch()
            self._note(batch, event, "-")
            self._store.commit(batch)
        self._heartbeat.count("events applied")

    def _note(self, batch: Batch, event: StripeEvent, customer: str) -> None:
        batch.put_field(k.STRIPE_EVENTS.at(), event.id, f"{event.created_s} {event.type} {customer}")

    def forget_events(self, days: int) -> None:
        """Drops the notes of events older than this: Stripe resends for three days."""
        oldest = self._clock.machine_ns() // SECOND - days * _DAY
        batch = self._store.batch()
        for event, note in self._store.fields(k.STRIPE_EVENTS.at()).items():
            created, _, _ = note.partition(" ")
            if not created.isdigit() or int(created) < oldest:
                batch.drop_field(k.STRIPE_EVENTS.at(), event)
        self._store.commit(batch)

    # -- all customers

    def read_account(self) -> list[str]:
        """Reads prices and owners; the customers to refresh. Raises SendError."""
        self._read_prices()
        owners = self._account.owners()
        with self._my_turn():
            self._owners = owners
        records = self._store.fields(k.SUBSCRIBERS.at())
        paying = {one.stripe_customer for one in records.values() if one.tier != "free" and one.stripe_customer}
        return sorted(paying.union(*owners.values()))

    def load_ends(self) -> None:
        """What Redis says of ends: they come, even if Stripe is away when this process starts."""
        records = self._store.fields(k.SUBSCRIBERS.at())
        self.ends = {one.id: one.until_s for one in records.values() if one.until_s is not None}

    def _read_prices(self) -> None:
        usd: dict[PaidTier, int] = {"premium": self._settings.premium_usd, "basic": self._settings.basic_usd}
        self.sold, self.problems = offers(self._account.prices(), usd)
        self._prices_read = True

    def end(self, subscriber: str) -> str | None:
        """An end that was known has come: judged from what Stripe said last, without a call and so on its second.

        Returns the customer to refresh, for what Stripe knows better. Takes no turn: whoever reads Stripe meanwhile judges at an
        instant after the end, too.
        """
        self.ends.pop(subscriber, None)
        record = self._store.field(k.SUBSCRIBERS.at(), subscriber)
        now_ns = self._clock.machine_ns()
        if record is None or record.until_s is None or now_ns < record.until_s * SECOND:
            return None
        left = self._judged(self._held.get(subscriber, []), now_ns)
        status = left.status if left.of else "ended"
        ended = msgspec.structs.replace(record, tier=left.tier, status=status, until_s=left.until_s, machine_ns=now_ns)
        batch = self._store.batch()
        self._put(batch, ended)
        self._store.commit(batch)
        self._tell(ended, record)
        return record.stripe_customer

    def empty(self) -> bool:
        """Whether Redis holds no subscriber at all."""
        return self._store.length(k.SUBSCRIBERS.at()) == 0

    # -- visitors

    def record(self, telegram_id: int) -> Subscriber | None:
        return self._store.field(k.SUBSCRIBERS.at(), subscriber_of(telegram_id))

    def buy(self, telegram_id: int, tier: PaidTier, *, success_url: str, back_url: str) -> str:
        """Where to send a visitor who wants a tier: to Checkout, or to the portal when they pay already (never twice).

        So, too, when a subscription without access goes on at Stripe (unpaid, paused, refunded, disputed, of a price that is not
        ours): a second one would be charged beside it."""
        record = self.record(telegram_id)
        if record is not None and record.stripe_customer is not None:
            self.refresh(record.stripe_customer)
            record = self.record(telegram_id)
        if record is None or record.stripe_customer is None:
            record = self._new_customer(telegram_id)
        customer = str(record.stripe_customer)
        if record.tier != "free" or any(may_charge(one) for one in self._held.get(record.id, [])):
            return self._account.portal(customer, back_url)
        return self._account.checkout(self.sold[tier], customer, telegram_id, success_url=success_url, cancel_url=back_url)

    def _new_customer(self, telegram_id: int) -> Subscriber:
        customer = self._account.new_customer(telegram_id)
        now = self._clock.machine_ns()
        record = Subscriber(subscriber_of(telegram_id), customer, None, "free", "none", None, telegram_id, now)
        with self._my_turn():
            batch = self._store.batch()
            batch.put_field(k.SUBSCRIBERS.at(), record.id, record)
            self._store.commit(batch)
        return record

    def portal(self, telegram_id: int, back_url: str) -> str | None:
        record = self.record(telegram_id)
        if record is None or record.stripe_customer is None:
            return None
        return self._account.portal(record.stripe_customer, back_url)

    def returned(self, session: str) -> bool:
        """Whether a visitor who comes back from Checkout has paid: then access begins at once, webhook or not."""
        result = self._account.result(session)
        if result.status != "complete" or not result.customer:
            return False
        self.refresh(result.customer)
        return True

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=_TURN_SECONDS):
            raise UnreachableError("Stripe answers too slowly: another request still waits for it")
        try:
            yield
        finally:
            self._turn.release()
