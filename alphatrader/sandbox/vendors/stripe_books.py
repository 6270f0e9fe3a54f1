"""The Stripe stand-in's account: what happens to customers, subscriptions, invoices and charges, and the events of it.

Every change is one transaction of the store with the events it causes; the API (`stripe_api.py`), the pages
(`stripe_pages.py`) and the webhook thread call in. Time is machine time, as with the real Stripe.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alphatrader.sandbox.vendors import stripe_billing as billing
from alphatrader.sandbox.vendors import stripe_objects as objects
from alphatrader.sandbox.vendors.store import Store
from alphatrader.sandbox.vendors.stripe_forms import Refusal
from alphatrader.sandbox.vendors.stripe_objects import Object
from alphatrader.sandbox.vendors.stripe_webhooks import Webhooks
from alphatrader.sandbox.vendors.wirelog import WireLog
from alphatrader.sandbox.vendors.world import VendorWorld

VENDOR = "stripe"
# id prefix -> kind under which the object is kept
KINDS = {
    "cus": "customer",
    "prod": "product",
    "price": "price",
    "cs": "checkout.session",
    "sub": "subscription",
    "in": "invoice",
    "inpay": "invoice_payment",
    "ch": "charge",
    "re": "refund",
    "du": "dispute",
    "evt": "event",
    "bps": "billing_portal.session",
}
KEPT_EVENTS = 5000
MOST_PERIODS_AT_ONCE = 24  # renewals made up for after a long time off
RUNNING = ("active", "past_due", "unpaid", "trialing")
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Books:
    def __init__(self, world: VendorWorld, store: Store, wire: WireLog) -> None:
        self._world, self._store = world, store
        self.webhooks = Webhooks(world, store, wire, self.end_periods)
        self._request: Object = {"id": None, "idempotency_key": None}
        self._seed_prices()

    # -- the shelf ----------------------------------------------------------------------------------------------------

    @contextmanager
    def change(self, request: Object | None = None) -> Iterator[None]:
        """One change of the account; `request` names the API call that events are said to come from."""
        with self._store.transaction():
            before, self._request = self._request, request or self._request
            try:
                yield
            finally:
                self._request = before
        self.webhooks.wake()

    def now(self) -> int:
        return int(self._world.machine_s())

    def key(self, prefix: str) -> str:
        """A new id. Holds the instant, so that ids of a wiped directory do not come back."""
        number, stamp = self._store.count(VENDOR, "id"), ""
        left = int(self._world.machine_s() * 1000)
        while left:
            left, digit = divmod(left, 36)
            stamp = DIGITS[digit] + stamp
        return f"{prefix}_{stamp}{number:06d}"

    def get(self, kind: str, key: str) -> Object:
        held = self._store.get(VENDOR, kind, key)
        if held is None:
            raise Refusal(404, f"No such {kind}: '{key}'", param="id", code="resource_missing")
        return held

    def find(self, key: str) -> Object | None:
        """Any object by its id alone (for `expand`)."""
        kind = KINDS.get(key.split("_", 1)[0])
        return None if kind is None else self._store.get(VENDOR, kind, key)

    def all(self, kind: str) -> list[Object]:
        """Newest first, as Stripe lists."""
        return list(reversed(self._store.all(VENDOR, kind)))

    def put(self, kind: str, of: Object) -> Object:
        self._store.put(VENDOR, kind, of["id"], of)
        return of

    def kept(self, kind: str, key: str) -> Object | None:
        return self._store.get(VENDOR, kind, key)

    def keep(self, kind: str, key: str, body: Object) -> None:
        self._store.put(VENDOR, kind, key, body)

    def emit(self, kind: str, of: Object, previous: Object | None = None) -> None:
        pending = 1 if self.webhooks.configured else 0
        event = objects.event(self.key("evt"), self.now(), kind, of, previous, self._request, pending=pending)
        self.put("event", event)
        self._store.trim(VENDOR, "event", KEPT_EVENTS)
        self.webhooks.queue(event["id"])

    def _seed_prices(self) -> None:
        with self._store.transaction():
            for price_id, (name, cents) in self._world.credentials.stripe_prices.items():
                if self._store.get(VENDOR, "price", price_id) is None:
                    product = objects.product(f"prod_{price_id.removeprefix('price_')}", self.now(), name, {})
                    price = objects.price(price_id, self.now(), product["id"], cents, "usd", "month", nickname=name)
                    price["lookup_key"] = price_id.rsplit("_", 1)[-1]
                    self.put("product", {**product, "default_price": price_id})
                    self.put("price", price)

    # -- what customers do --------------------------------------------------------------------------------------------

    def new_customer(self, email: str | None, name: str | None, metadata: dict[str, str]) -> Object:
        customer = self.put("customer", objects.customer(self.key("cus"), self.now(), email, name, metadata))
        self.emit("customer.created", customer)
        return customer

    def pay_session(self, session_id: str, email: str | None = None) -> Object:
        """A visitor pays on the checkout page: the subscription begins."""
        with self.change({"id": None, "idempotency_key": None}):
            session = self.get("checkout.session", session_id)
            if session["status"] != "open":
                raise Refusal(400, f"This Checkout Session is {session['status']}.", code="checkout_session_not_open")
            if self.now() >= session["expires_at"]:
                self.expire_session(session_id)
                return self.get("checkout.session", session_id)
            email = email or session["customer_email"]
            if session["customer"] is None:
                customer = self.new_customer(email or "subscriber@example.com", None, {})
            else:
                customer = self.get("customer", session["customer"])
            more = self.kept("checkout.more", session_id) or {}
            session["customer"] = customer["id"]
            session["customer_details"] = {
                "address": None,
                "business_name": None,
                "email": customer["email"],
                "individual_name": None,
                "name": customer["name"],
                "phone": None,
                "tax_exempt": "none",
                "tax_ids": [],
            }
            if session["mode"] == "subscription":
                lines = [(item["price"]["id"], item["quantity"]) for item in more["line_items"]]
                sub = self.new_subscription(customer["id"], lines, more.get("subscription_metadata", {}))
                session["subscription"], session["invoice"] = sub["id"], sub["latest_invoice"]
            session.update(status="complete", payment_status="paid", url=None)
            self.put("checkout.session", session)
            self.emit("checkout.session.completed", session)
            return session

    def expire_session(self, session_id: str) -> Object:
        with self.change():
            session = self.get("checkout.session", session_id)
            if session["status"] != "open":
                raise Refusal(400, 'Only Checkout Sessions with a status in ["open"] can be expired.')
            session.update(status="expired", url=None)
            self.put("checkout.session", session)
            self.emit("checkout.session.expired", session)
            return session

    def new_subscription(self, customer_id: str, lines: list[tuple[str, int]], metadata: dict[str, str]) -> Object:
        now, key = self.now(), self.key("sub")
        items = []
        for price_id, quantity in lines:
            price = self.get("price", price_id)
            if price["recurring"] is None:
                raise Refusal(400, f"The price {price_id} is set to type=one_time", param="items")
            end = billing.period_after(now, price["recurring"]["interval"], price["recurring"]["interval_count"])
            items.append(billing.subscription_item(self.key("si"), now, key, price, quantity, (now, end)))
        sub = billing.subscription(key, now, customer_id, items[0]["price"]["currency"], items, metadata)
        self.put("subscription", sub)
        bill, charge = self._bill(sub, "subscription_create", paid=True)
        sub["latest_invoice"] = bill["id"]
        self.put("subscription", sub)
        self.emit("customer.subscription.created", sub)
        self._tell_paid(bill, charge)
        return sub

    # -- what becomes of a subscription -------------------------------------------------------------------------------

    def update_subscription(self, key: str, changes: Object) -> Object:
        """`changes`: cancel_at_period_end, metadata, items (replaced whole)."""
        with self.change():
            sub = self.get("subscription", key)
            if sub["status"] == "canceled":
                raise Refusal(400, "A canceled subscription can only update its cancellation_details and metadata.")
            previous = {name: sub[name] for name, value in changes.items() if sub[name] != value}
            sub.update(changes)
            if "cancel_at_period_end" in changes:
                ending = changes["cancel_at_period_end"]
                for name, value in (
                    ("cancel_at", period_end(sub) if ending else None),
                    ("canceled_at", self.now() if ending else None),
                ):
                    if sub[name] != value:
                        previous[name], sub[name] = sub[name], value
                sub["cancellation_details"] = {
                    "comment": None,
                    "feedback": None,
                    "reason": "cancellation_requested" if ending else None,
                }
            self.put("subscription", sub)
            if previous:
                self.emit("customer.subscription.updated", sub, previous)
            return sub

    def cancel(self, key: str, reason: str = "cancellation_requested") -> Object:
        with self.change():
            sub = self.get("subscription", key)
            if sub["status"] == "canceled":
                raise Refusal(404, f"No such subscription: '{key}'", param="id", code="resource_missing")
            now = self.now()
            sub.update(status="canceled", canceled_at=sub["canceled_at"] or now, ended_at=now)
            sub["cancellation_details"]["reason"] = reason
            self.put("subscription", sub)
            self.emit("customer.subscription.deleted", sub)
            return sub

    def renew(self, key: str, *, paid: bool = True) -> Object:
        """The next period begins; its invoice is paid, or its payment fails and the subscription is past due."""
        with self.change({"id": None, "idempotency_key": None}):
            sub = self.get("subscription", key)
            if sub["status"] not in RUNNING:
                raise Refusal(400, f"The subscription is {sub['status']}.")
            previous: Object = {"items": {"data": [dict(item) for item in sub["items"]["data"]]}, "status": sub["status"]}
            for item in sub["items"]["data"]:
                start = item["current_period_end"]
                every = item["price"]["recurring"]
                item["current_period_start"] = start
                item["current_period_end"] = billing.period_after(start, every["interval"], every["interval_count"])
            bill, charge = self._bill(sub, "subscription_cycle", paid=paid)
            previous["latest_invoice"], sub["latest_invoice"] = sub["latest_invoice"], bill["id"]
            sub["status"] = "active" if paid else "past_due"
            self.put("subscription", sub)
            self.emit("customer.subscription.updated", sub, previous)
            if paid:
                self._tell_paid(bill, charge)
            else:
                self.emit("charge.failed", charge)
                self.emit("invoice.payment_failed", bill)
            return sub

    def set_status(self, key: str, status: str) -> Object:
        with self.change({"id": None, "idempotency_key": None}):
            sub = self.get("subscription", key)
            previous, sub["status"] = {"status": sub["status"]}, status
            self.put("subscription", sub)
            self.emit("customer.subscription.updated", sub, previous)
            return sub

    def recover(self, key: str) -> Object:
        """The open invoice of a past-due subscription is paid after all."""
        with self.change({"id": None, "idempotency_key": None}):
            sub = self.get("subscription", key)
            bill = self.get("invoice", sub["latest_invoice"])
            if bill["status"] != "open":
                raise Refusal(400, "The latest invoice is not open.")
            now = self.now()
            bill.update(
                status="paid", amount_paid=bill["total"], amount_remaining=0, next_payment_attempt=None, auto_advance=False
            )
            bill["attempt_count"] += 1
            bill["status_transitions"]["paid_at"] = now
            charge = self._charge(bill, paid=True)
            self._tell_paid(bill, charge)
            previous, sub["status"] = {"status": sub["status"]}, "active"
            self.put("subscription", sub)
            self.emit("customer.subscription.updated", sub, previous)
            return sub

    def refund(self, charge_id: str, cents: int | None = None) -> Object:
        with self.change():
            charge = self.get("charge", charge_id)
            left = charge["amount"] - charge["amount_refunded"]
            cents = left if cents is None else cents
            if not charge["paid"] or not 0 < cents <= left:
                raise Refusal(400, f"Charge {charge_id} has already been refunded.", code="charge_already_refunded")
            refund = self.put("refund", billing.refund(self.key("re"), self.now(), charge, cents))
            previous = {"amount_refunded": charge["amount_refunded"], "refunded": charge["refunded"]}
            charge["amount_refunded"] += cents
            charge["refunded"] = charge["amount_refunded"] == charge["amount"]
            self.put("charge", charge)
            self.emit("refund.created", refund)
            self.emit("charge.refunded", charge, previous)
            return refund

    def dispute(self, charge_id: str) -> Object:
        with self.change({"id": None, "idempotency_key": None}):
            charge = self.get("charge", charge_id)
            if charge["disputed"]:
                raise Refusal(400, f"Charge {charge_id} is disputed already.")
            dispute = self.put("dispute", billing.dispute(self.key("du"), self.now(), charge))
            self.put("charge", {**charge, "disputed": True})
            self.emit("charge.dispute.created", dispute)
            return dispute

    def close_dispute(self, charge_id: str, *, won: bool) -> Object:
        with self.change({"id": None, "idempotency_key": None}):
            for dispute in self.all("dispute"):
                if dispute["charge"] == charge_id and dispute["status"] == "needs_response":
                    dispute["status"] = "won" if won else "lost"
                    self.put("dispute", dispute)
                    self.emit("charge.dispute.closed", dispute)
                    return dispute
        raise Refusal(400, f"Charge {charge_id} has no open dispute.")

    def latest_charge(self, subscription_id: str) -> str:
        """The newest paid charge of a subscription, by its invoices' payments."""
        bills = [bill["id"] for bill in self.all("invoice") if subscription_of(bill) == subscription_id]
        intents = {pay["payment"]["payment_intent"]: pay["invoice"] for pay in self.all("invoice_payment")}
        for charge in self.all("charge"):
            if charge["paid"] and intents.get(charge["payment_intent"]) in bills:
                return charge["id"]
        raise Refusal(400, f"The subscription {subscription_id} has no paid charge.")

    def end_period_now(self, key: str) -> Object:
        """Bring the end of the current period to this instant and let it take effect."""
        with self.change({"id": None, "idempotency_key": None}):
            sub = self.get("subscription", key)
            for item in sub["items"]["data"]:
                item["current_period_end"] = self.now()
            if sub["cancel_at"] is not None:
                sub["cancel_at"] = self.now()
            self.put("subscription", sub)
            self.end_periods()
            return self.get("subscription", key)

    def end_periods(self) -> None:
        """Renew or end every subscription whose period is over. Called each second by the webhook thread."""
        now = self.now()
        for held in self.all("subscription"):
            if held["status"] not in RUNNING or period_end(held) > now:
                continue
            with self.change({"id": None, "idempotency_key": None}):
                sub = self.get("subscription", held["id"])
                for _ in range(MOST_PERIODS_AT_ONCE):
                    if sub["status"] not in RUNNING or period_end(sub) > now:
                        break
                    ended = sub["cancel_at_period_end"] or sub["status"] == "unpaid"
                    sub = self.cancel(sub["id"]) if ended else self.renew(sub["id"], paid=sub["status"] == "active")

    def _bill(self, sub: Object, reason: str, *, paid: bool) -> tuple[Object, Object]:
        customer = self.get("customer", sub["customer"])
        number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
        customer["next_invoice_sequence"] += 1
        customer["currency"] = sub["currency"]
        self.put("customer", customer)
        bill = billing.invoice(self.key("in"), self.now(), sub, reason, number, paid=paid, email=customer["email"])
        self.put("invoice", bill)
        return bill, self._charge(bill, paid=paid)

    def _charge(self, bill: Object, *, paid: bool) -> Object:
        intent, now = self.key("pi"), self.now()
        charge = billing.charge(self.key("ch"), now, bill["customer"], bill["total"], bill["currency"], intent, paid=paid)
        payment = billing.invoice_payment(self.key("inpay"), now, bill["id"], bill["total"], bill["currency"], intent, paid=paid)
        self.put("invoice_payment", payment)
        self.put("invoice", bill)
        return self.put("charge", charge)

    def _tell_paid(self, bill: Object, charge: Object) -> None:
        self.emit("charge.succeeded", charge)
        self.emit("invoice.paid", bill)
        self.emit("invoice.payment_succeeded", bill)


def period_end(sub: Object) -> int:
    return min(item["current_period_end"] for item in sub["items"]["data"])


def subscription_of(bill: Object) -> Any:
    return ((bill["parent"] or {}).get("subscription_details") or {}).get("subscription")
