"""The Stripe client against the stand-in, through the real library: what it reads, and how it fails."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe
from msgspec.structs import replace

from alphatrader.clients.sending import LimitedError, LostAnswerError, RefusedError, SendError, UnreachableError
from alphatrader.clients.stripe import BadAnswerError, BadEventError, ForgedError, MissingError, StripeAccount, verified
from alphatrader.contract.settings.people import Vendors
from alphatrader.sandbox.vendors.stripe_webhooks import signature_header
from tests.support.http import running_answers, send
from tests.support.vendors import CREDENTIALS, Running, running_vendors

KEY, SECRET = CREDENTIALS.stripe_secret_key, CREDENTIALS.stripe_webhook_secret
VENDORS = Vendors(timeout_seconds=1.0, breaker_failures=3, breaker_reset_seconds=60.0)
BACK = {"success_url": "https://pages.example/thanks?session={CHECKOUT_SESSION_ID}", "cancel_url": "https://pages.example/"}


@pytest.fixture(scope="module")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_vendors(tmp_path_factory.mktemp("vendors")) as running:
        yield running


def account(url: str, key: str = KEY) -> StripeAccount:
    return StripeAccount(key, replace(VENDORS, stripe_url=url), time.time_ns)


@pytest.fixture
def ours(vendors: Running) -> StripeAccount:
    return account(f"{vendors.url}/stripe")


def bought(vendors: Running, ours: StripeAccount, telegram_id: int, lookup_key: str = "premium") -> tuple[str, str]:
    """Customer and subscription."""
    customer = ours.new_customer(telegram_id)
    price = next(price for price in ours.prices() if price.lookup_key == lookup_key)
    address = ours.checkout(price, customer, telegram_id, **BACK)
    return customer, vendors.post(f"/stripe/sandbox/pay/{address.rsplit('/', 1)[-1]}")["subscription"]


def test_prices_are_read_with_what_finds_them(ours: StripeAccount) -> None:
    assert {(price.lookup_key, price.cents, price.monthly, price.active) for price in ours.prices()} == {
        ("premium", 14900, True, True),
        ("basic", 4900, True, True),
    }


def test_a_subscription_carries_who_bought_it(vendors: Running, ours: StripeAccount) -> None:
    customer, subscription = bought(vendors, ours, 71)
    assert ours.new_customer(71) == customer  # asked again: the same
    [held] = ours.subscriptions(customer)
    assert (held.id, held.subscriber, held.telegram_id, held.status) == (subscription, "telegram-71", 71, "active")
    assert held.period_start_s < held.period_end_s and held.ends_at_s is None and not held.disputed
    assert ours.owners()["telegram-71"] == {customer}
    vendors.post(f"/stripe/sandbox/{subscription}/cancel_at_period_end")
    assert ours.subscriptions(customer)[0].ends_at_s == held.period_end_s
    vendors.post(f"/stripe/sandbox/{subscription}/cancel")
    assert ours.subscriptions(customer)[0].status == "canceled"
    assert "telegram-71" not in ours.owners()


def test_a_sale_by_hand_belongs_to_the_customer(vendors: Running, ours: StripeAccount) -> None:
    api = stripe.StripeClient(KEY, base_addresses={"api": f"{vendors.url}/stripe"}).v1
    customer = api.customers.create({"email": "a@example.com"}).id
    api.subscriptions.create({"customer": customer, "items": [{"price": "price_sandbox_basic"}], "metadata": {"telegram": "1e3"}})
    [held] = ours.subscriptions(customer)
    assert (held.subscriber, held.telegram_id) == (customer, None)


def test_a_refund_is_found_on_the_subscription_it_was_for(vendors: Running, ours: StripeAccount) -> None:
    customer, refunded = bought(vendors, ours, 72)
    _, other = bought(vendors, ours, 72, "basic")
    vendors.post(f"/stripe/sandbox/{refunded}/refund")
    held = {one.id: one for one in ours.subscriptions(customer)}
    assert held[refunded].refunded_until_s == held[refunded].period_end_s
    assert held[other].refunded_until_s is None


def test_a_part_of_a_payment_refunded_is_no_refund(vendors: Running, ours: StripeAccount) -> None:
    customer, _ = bought(vendors, ours, 73)
    api = stripe.StripeClient(KEY, base_addresses={"api": f"{vendors.url}/stripe"}).v1
    api.refunds.create({"charge": api.charges.list({"customer": customer}).data[0].id, "amount": 100})
    assert ours.subscriptions(customer)[0].refunded_until_s is None


def test_a_dispute_stands_until_it_is_won(vendors: Running, ours: StripeAccount) -> None:
    customer, subscription = bought(vendors, ours, 74)
    for what, disputed in (("dispute", True), ("dispute_won", False)):
        vendors.post(f"/stripe/sandbox/{subscription}/{what}")
        assert ours.subscriptions(customer)[0].disputed is disputed


def test_what_stripe_does_not_have_is_missing(ours: StripeAccount) -> None:
    with pytest.raises(MissingError):
        ours.result("cs_test_none")


def test_a_wrong_key_is_refused_without_showing_it(vendors: Running) -> None:
    with pytest.raises(RefusedError, match="AuthenticationError, HTTP 401") as caught:
        account(f"{vendors.url}/stripe", "sk_test_wrong_key").prices()
    assert "wrong_key" not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize(("status", "kind", "tries"), [(429, LimitedError, 1), (500, LostAnswerError, 2)])
def test_a_status_says_what_happens_next(vendors: Running, status: int, kind: type[SendError], tries: int) -> None:
    vendors.fault("stripe", "status", status=status, match="/prices", count=tries)
    ours = account(f"{vendors.url}/stripe")
    with pytest.raises(kind):
        ours.prices()
    assert len(ours.prices()) == 2


def test_nobody_there_opens_the_breaker_and_then_nothing_is_asked() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        ours = account(f"http://127.0.0.1:{probe.getsockname()[1]}")
        for _ in range(3):
            with pytest.raises(UnreachableError, match="cannot be reached"):
                ours.prices()
        with pytest.raises(UnreachableError, match="breaker open"):
            ours.prices()


def test_an_answer_that_lacks_a_field_is_named() -> None:
    with running_answers() as answers:
        body = {
            "object": "list",
            "url": "/v1/prices",
            "has_more": False,
            "data": [{"object": "price", "id": "p", "currency": "usd"}],
        }
        answers.answer = lambda handler: send(handler, json.dumps(body).encode())
        with pytest.raises(BadAnswerError, match="product"):
            account(answers.url).prices()


def signed(body: bytes, secret: str = SECRET, t: float | None = None) -> str:
    return signature_header(body, secret, int(t or time.time()))


def test_composed_samples_of_every_kind_are_read() -> None:
    """The samples of ../shared, as Stripe's own fixtures have them."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "stripe_samples"
    if not folder.is_dir():
        pytest.skip("../shared is not here")
    kinds = {}
    for path in sorted(folder.glob("*.json")):
        body = json.dumps(json.loads(path.read_text())["event"]).encode()
        event = verified(body, signed(body), SECRET, 300)
        kinds[event.type] = bool(event.customer or event.charge)
    assert len(kinds) == 8
    # These two samples are a guest's: without customer there is nobody to look up.
    assert [kind for kind, leads in kinds.items() if not leads] == ["charge.refunded", "checkout.session.completed"]


def test_a_webhook_is_believed_only_with_a_fresh_true_signature() -> None:
    made: dict[str, Any] = {"id": "evt_1", "type": "customer.created", "livemode": False, "created": 1}
    body = json.dumps(made | {"data": {"object": {"object": "customer", "id": "cus_1"}}}).encode()
    assert verified(body, signed(body), SECRET, 300).customer == "cus_1"
    for header in (None, "", "nonsense", signed(body, "whsec_other"), signed(body, t=time.time() - 301), signed(body + b" ")):
        with pytest.raises(ForgedError):
            verified(body, header, SECRET, 300)
    with pytest.raises(ForgedError):
        verified(body, signed(body, ""), "", 300)  # no secret is configured
    broken = json.dumps(made).encode()
    with pytest.raises(BadEventError, match="data"):
        verified(broken, signed(broken), SECRET, 300)
