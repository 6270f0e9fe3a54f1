"""Stripe: what is sold, who has which subscription, Checkout, the customer portal, and whether a webhook is Stripe's.

Every answer is read into typed structs: one that lacks a field is refused with the field's name. Errors are those of
clients/sending.py. Each call has a time-out, the library's bounded retries (with jitter and an idempotency key) and a circuit
breaker before it. Used by the pages only, from several threads.

From a charge to its subscription the API has one way: payment intent -> invoice payment -> invoice -> `parent`. The charges that
were refunded whole or disputed are looked up so, and what was found is remembered: an invoice never changes its subscription.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, TypeVar, cast

import msgspec
import stripe
from msgspec import Meta

from alphatrader.clients.sending import LimitedError, LostAnswerError, RefusedError, SendError, UnreachableError, breaker
from alphatrader.contract.messages.billing import Price, Subscription
from alphatrader.contract.settings.people import Vendors

T = TypeVar("T")
RETRIES: Final = 1
_PAGE: Final = 100
_HARMLESS_DISPUTES: Final = ("won", "warning_closed")
Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{1,255}$")]


class MissingError(RefusedError):
    """Stripe has no such object."""


class BadAnswerError(RefusedError):
    """An answer in 2xx that is not what it should be."""


class ForgedError(ValueError):
    """A webhook that Stripe did not sign, or not lately."""


class BadEventError(ValueError):
    """A signed webhook that is not a well-formed event; names the field."""


class _Recurring(msgspec.Struct):
    interval: str
    interval_count: int = 1


class _Price(msgspec.Struct):
    id: Id
    product: str
    currency: str
    active: bool = True
    unit_amount: int | None = None
    lookup_key: str | None = None
    recurring: _Recurring | None = None

    def read(self) -> Price:
        monthly = self.recurring is not None and (self.recurring.interval, self.recurring.interval_count) == ("month", 1)
        cents = self.unit_amount if self.currency == "usd" else None
        return Price(self.id, self.product, self.lookup_key, cents, monthly, self.active)


class _Item(msgspec.Struct):
    price: _Price
    current_period_start: int
    current_period_end: int


class _Items(msgspec.Struct):
    data: Annotated[list[_Item], Meta(min_length=1)]


class _Subscription(msgspec.Struct):
    id: Id
    customer: Id
    status: str
    items: _Items
    metadata: dict[str, str] = {}
    cancel_at: int | None = None
    cancel_at_period_end: bool = False
    pause_collection: dict[str, Any] | None = None

    def read(self) -> Subscription:
        telegram_id = _telegram_id(self.metadata)
        end = min(item.current_period_end for item in self.items.data)
        return Subscription(
            id=self.id,
            customer=self.customer,
            subscriber=subscriber_of(telegram_id) if telegram_id is not None else self.customer,
            telegram_id=telegram_id,
            status=self.status,
            prices=tuple(item.price.read() for item in self.items.data),
            period_start_s=max(item.current_period_start for item in self.items.data),
            period_end_s=end,
            ends_at_s=self.cancel_at or (end if self.cancel_at_period_end else None),
            collection_paused=self.pause_collection is not None,
        )


class _Owner(msgspec.Struct):
    customer: Id
    metadata: dict[str, str] = {}


class _Charge(msgspec.Struct):
    id: Id
    refunded: bool
    disputed: bool
    customer: str | None = None
    payment_intent: str | None = None


class _Details(msgspec.Struct):
    subscription: str


class _Parent(msgspec.Struct):
    subscription_details: _Details | None = None


class _Period(msgspec.Struct):
    end: int


class _Line(msgspec.Struct):
    period: _Period


class _Lines(msgspec.Struct):
    data: list[_Line]


class _Invoice(msgspec.Struct):
    lines: _Lines
    parent: _Parent | None = None


class _Object(msgspec.Struct):
    object: str
    id: str | None = None
    customer: str | dict[str, Any] | None = None
    charge: str | dict[str, Any] | None = None


class _Data(msgspec.Struct):
    object: _Object


class _Event(msgspec.Struct):
    id: Id
    type: Annotated[str, Meta(min_length=1, max_length=100)]
    livemode: bool
    created: int
    data: _Data


class StripeEvent(msgspec.Struct, frozen=True):
    id: str
    type: str
    livemode: bool
    created_s: int
    customer: str | None
    charge: str | None
    """Where the event names no customer: the charge that does."""


class CheckoutResult(msgspec.Struct, frozen=True):
    """How a Checkout session stands."""

    id: Id
    status: str | None
    customer: str | None


_EVENTS: Final = msgspec.json.Decoder(_Event)


def verified(body: bytes, signature: str | None, secret: str, tolerance_seconds: int) -> StripeEvent:
    """The event in a webhook's raw body. Raises ForgedError or BadEventError."""
    try:
        stripe.WebhookSignature.verify_header(body, signature, secret, tolerance_seconds)
    except (stripe.SignatureVerificationError, UnicodeDecodeError) as error:
        raise ForgedError("the signature is not Stripe's, or is too old") from error
    try:
        event = _EVENTS.decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise BadEventError(f"the event is malformed: {error}") from error
    of = event.data.object
    customer = of.id if of.object == "customer" else _id(of.customer)
    return StripeEvent(event.id, event.type, event.livemode, event.created, customer, _id(of.charge))


class StripeAccount:
    def __init__(self, key: str, vendors: Vendors, machine_ns: Callable[[], int]) -> None:
        # Two tries in all have to end before Stripe stops waiting for a webhook's answer.
        client = stripe.RequestsClient(timeout=vendors.timeout_seconds)
        api = stripe.StripeClient(
            key, base_addresses={"api": vendors.stripe_url}, http_client=client, max_network_retries=RETRIES
        )
        self._api = api.v1
        self._breaker = breaker(vendors, machine_ns)
        self._paid_by: dict[str, tuple[str, int]] = {}
        """Payment intent -> the subscription it paid for and the end of that period."""

    # -- what there is

    def prices(self) -> list[Price]:
        listed = self._every(lambda: self._api.prices.list({"limit": _PAGE, "active": True, "type": "recurring"}))
        return [_read(one, _Price).read() for one in listed]

    def owners(self) -> dict[str, set[str]]:
        """Every subscriber with the customers that hold a subscription of theirs that has not been cancelled."""
        found: dict[str, set[str]] = {}
        for one in self._every(lambda: self._api.subscriptions.list({"limit": _PAGE})):
            held = _read(one, _Owner)
            telegram_id = _telegram_id(held.metadata)
            subscriber = subscriber_of(telegram_id) if telegram_id is not None else held.customer
            found.setdefault(subscriber, set()).add(held.customer)
        return found

    def subscriptions(self, customer: str) -> list[Subscription]:
        """All of a customer's, as they are now, newest first. Raises MissingError where Stripe has no such customer."""
        listed = self._every(lambda: self._api.subscriptions.list({"customer": customer, "limit": _PAGE, "status": "all"}))
        found = [_read(one, _Subscription).read() for one in listed]
        if not found:
            return []
        refunded, disputed = self._taken_back(customer)
        return [msgspec.structs.replace(one, refunded_until_s=refunded.get(one.id), disputed=one.id in disputed) for one in found]

    def customer_of_charge(self, charge: str) -> str | None:
        return _read(self._call(lambda: self._api.charges.retrieve(charge)), _Charge).customer

    def _taken_back(self, customer: str) -> tuple[dict[str, int], set[str]]:
        """Of the customer's newest 100 charges: subscription -> latest end of a refunded period; subscriptions in dispute."""
        listed = self._call(lambda: self._api.charges.list({"customer": customer, "limit": _PAGE}).data)
        refunded: dict[str, int] = {}
        disputed: set[str] = set()
        for charge in (_read(one, _Charge) for one in listed):
            if not (charge.refunded or charge.disputed) or charge.payment_intent is None:
                continue
            paid = self._paid_for(charge.payment_intent)
            if paid is None:
                continue
            subscription, end = paid
            if charge.refunded:
                refunded[subscription] = max(end, refunded.get(subscription, 0))
            if charge.disputed and self._dispute_stands(charge.id):
                disputed.add(subscription)
        return refunded, disputed

    def _paid_for(self, intent: str) -> tuple[str, int] | None:
        """The subscription that a payment was for, and the end of the period it paid; None: it was for none."""
        if intent not in self._paid_by:
            payment = {"type": "payment_intent", "payment_intent": intent}
            for one in self._call(lambda: self._api.invoice_payments.list(cast(Any, {"payment": payment})).data):
                bill = self._invoice(str(one.invoice))
                details = bill.parent.subscription_details if bill.parent else None
                if details is not None:
                    self._paid_by[intent] = details.subscription, max((line.period.end for line in bill.lines.data), default=0)
        return self._paid_by.get(intent)

    def _invoice(self, key: str) -> _Invoice:
        return _read(self._call(lambda: self._api.invoices.retrieve(key)), _Invoice)

    def _dispute_stands(self, charge: str) -> bool:
        disputes = self._call(lambda: self._api.disputes.list({"charge": charge}).data)
        return not disputes or any(one.status not in _HARMLESS_DISPUTES for one in disputes)

    # -- what a visitor does

    def new_customer(self, telegram_id: int) -> str:
        """Asked twice within a day it gives the same customer."""
        params: Any = {"metadata": _metadata(telegram_id)}
        options: Any = {"idempotency_key": f"alphatrader-customer-{subscriber_of(telegram_id)}"}
        return str(self._call(lambda: self._api.customers.create(params, options)).id)

    def checkout(self, price: Price, customer: str, telegram_id: int, *, success_url: str, cancel_url: str) -> str:
        """The address of a new Checkout page."""
        params: Any = {
            "mode": "subscription",
            "line_items": [{"price": price.id, "quantity": 1}],
            "customer": customer,
            "client_reference_id": subscriber_of(telegram_id),
            "metadata": _metadata(telegram_id),
            "subscription_data": {"metadata": _metadata(telegram_id)},
            "success_url": success_url,
            "cancel_url": cancel_url,
        }
        return str(self._call(lambda: self._api.checkout.sessions.create(params)).url)

    def result(self, session: str) -> CheckoutResult:
        return _read(self._call(lambda: self._api.checkout.sessions.retrieve(session)), CheckoutResult)

    def portal(self, customer: str, return_url: str) -> str:
        """The address of a page where the customer ends, keeps or changes a subscription."""
        params: Any = {"customer": customer, "return_url": return_url}
        return str(self._call(lambda: self._api.billing_portal.sessions.create(params)).url)

    def _every(self, ask: Callable[[], Any]) -> list[Any]:
        """All pages of a list."""
        return self._call(lambda: list(ask().auto_paging_iter()))

    def _call(self, ask: Callable[[], T]) -> T:
        def send() -> T:
            try:
                return ask()
            except stripe.StripeError as error:
                raise _of(error) from None  # Stripe's own words may hold part of a key

        return self._breaker.call(send)


def _of(error: stripe.StripeError) -> SendError:
    name, status = type(error).__name__, error.http_status
    if isinstance(error, stripe.APIConnectionError):
        return UnreachableError(f"Stripe cannot be reached: {name}")
    if isinstance(error, stripe.RateLimitError):
        return LimitedError("Stripe answered 429 too many requests")
    if error.code == "resource_missing":
        return MissingError("Stripe has no such object")
    if status is None or status >= 500:
        return LostAnswerError(f"Stripe answered {status or 'nothing that can be read'}")
    return RefusedError(f"Stripe refused: {name}, HTTP {status}")


def _read(answer: Any, schema: type[T]) -> T:
    try:
        return msgspec.convert(answer.to_dict(), schema)
    except msgspec.ValidationError as error:
        raise BadAnswerError(f"Stripe's {getattr(answer, 'object', 'answer')}: {error}") from error


def subscriber_of(telegram_id: int) -> str:
    """Our id of whoever bought with this Telegram account, whatever customers Stripe has of them."""
    return f"telegram-{telegram_id}"


def _metadata(telegram_id: int) -> dict[str, str]:
    return {"subscriber": subscriber_of(telegram_id), "telegram": str(telegram_id)}


def _telegram_id(metadata: Mapping[str, str]) -> int | None:
    given = metadata.get("telegram", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 20 else None


def _id(given: str | dict[str, Any] | None) -> str | None:
    if isinstance(given, dict):
        given = given.get("id")
    return given if isinstance(given, str) and given else None
