"""The Stripe stand-in through stripe-python: selling a subscription, changing it, ending it, finding what was paid."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
import requests
import stripe

from tests.support.specs import StripeFields
from tests.support.vendors import Running, running_vendors

PREMIUM, BASIC = "price_sandbox_premium", "price_sandbox_basic"


def client_of(vendors: Running, key: str = "", **more) -> stripe.StripeClient:
    base = {"api": f"{vendors.url}/stripe"}
    return stripe.StripeClient(key or vendors.credentials.stripe_secret_key, base_addresses=base, **more)


def checkout(client: stripe.StripeClient, price: str = PREMIUM, **more):
    return client.v1.checkout.sessions.create(
        params={
            "mode": "subscription",
            "line_items": [{"price": price, "quantity": 1}],
            "success_url": "https://pages.example/thanks?session={CHECKOUT_SESSION_ID}",
            "cancel_url": "https://pages.example/prices",
            "client_reference_id": "user-7",
            "metadata": {"tier": "premium"},
            "subscription_data": {"metadata": {"user": "7"}},
            **more,
        }
    )


def subscribe(vendors: Running, client: stripe.StripeClient, price: str = PREMIUM, **more):
    session = checkout(client, price, **more)
    paid = vendors.post(f"/stripe/sandbox/pay/{session.id}", email="a@example.com")
    return client.v1.subscriptions.retrieve(paid["subscription"])


def events_of(client: stripe.StripeClient) -> list[str]:
    """Types, oldest first."""
    return [event.type for event in reversed(client.v1.events.list(params={"limit": 100}).data)]


def test_a_visitor_pays_on_the_page_and_comes_back(vendors):
    client = client_of(vendors)
    session = checkout(client, customer_email="visitor@example.com")
    assert (session.status, session.payment_status, session.amount_total) == ("open", "unpaid", 14900)

    page = requests.get(session.url, timeout=5)
    assert page.status_code == 200 and "AlphaTrader Premium" in page.text and "$149.00" in page.text
    back = requests.post(f"{session.url}/pay", data={"email": "visitor@example.com"}, allow_redirects=False, timeout=5)

    assert (back.status_code, back.headers["Location"]) == (303, f"https://pages.example/thanks?session={session.id}")
    done = client.v1.checkout.sessions.retrieve(session.id, params={"expand": ["subscription", "customer", "line_items"]})
    assert (done.status, done.payment_status, done.client_reference_id) == ("complete", "paid", "user-7")
    assert done.subscription.status == "active" and done.subscription.metadata["user"] == "7"
    assert done.customer.email == "visitor@example.com"
    assert done.line_items.data[0].price.id == PREMIUM
    assert events_of(client) == [
        "customer.created",
        "customer.subscription.created",
        "charge.succeeded",
        "invoice.paid",
        "invoice.payment_succeeded",
        "checkout.session.completed",
    ]


def test_a_session_is_paid_once_and_not_after_it_expired(vendors):
    client = client_of(vendors)
    paid = checkout(client)
    vendors.post(f"/stripe/sandbox/pay/{paid.id}")
    again = requests.post(f"{vendors.url}/stripe/sandbox/pay/{paid.id}", timeout=5)
    assert again.status_code == 400

    expired = checkout(client)
    client.v1.checkout.sessions.expire(expired.id)
    assert requests.get(expired.url, timeout=5).status_code == 410
    late = checkout(client)
    vendors.clock.advance(86_401)
    vendors.post(f"/stripe/sandbox/pay/{late.id}")
    assert client.v1.checkout.sessions.retrieve(late.id).status == "expired"
    assert len(client.v1.subscriptions.list(params={"status": "all"}).data) == 1


def test_the_period_is_a_calendar_month_and_stands_on_the_item(vendors):
    sub = subscribe(vendors, client_of(vendors))

    item = sub["items"].data[0]
    start, end = (datetime.fromtimestamp(item[f"current_period_{edge}"], UTC) for edge in ("start", "end"))
    assert (end.year * 12 + end.month) - (start.year * 12 + start.month) == 1
    assert "current_period_end" not in sub


def test_an_upgrade_changes_the_price_at_once(vendors):
    client = client_of(vendors)
    sub = subscribe(vendors, client, BASIC)

    changed = client.v1.subscriptions.update(sub.id, params={"items": [{"id": sub["items"].data[0].id, "price": PREMIUM}]})

    assert changed["items"].data[0].price.id == PREMIUM and changed["items"].data[0].price.lookup_key == "premium"
    event = client.v1.events.list(params={"type": "customer.subscription.updated"}).data[0]
    assert event.data.previous_attributes["items"].data[0].price.id == BASIC


def test_cancel_at_period_end_keeps_it_until_then_exactly(vendors):
    client = client_of(vendors)
    sub = subscribe(vendors, client)
    end = sub["items"].data[0].current_period_end

    ending = client.v1.subscriptions.update(sub.id, params={"cancel_at_period_end": True})
    assert (ending.status, ending.cancel_at_period_end, ending.cancel_at) == ("active", True, end)

    vendors.clock.advance(end - vendors.clock.machine_s() - 1)
    wait_until(lambda: client.v1.subscriptions.retrieve(sub.id).status == "active")
    vendors.clock.advance(2)
    wait_until(lambda: client.v1.subscriptions.retrieve(sub.id).status == "canceled")
    assert client.v1.subscriptions.retrieve(sub.id).ended_at >= end
    assert events_of(client)[-1] == "customer.subscription.deleted"
    assert client.v1.subscriptions.list().data == []


def test_a_change_of_mind_keeps_the_subscription(vendors):
    client = client_of(vendors)
    sub = subscribe(vendors, client)
    client.v1.subscriptions.update(sub.id, params={"cancel_at_period_end": True})

    kept = client.v1.subscriptions.update(sub.id, params={"cancel_at_period_end": False})

    assert (kept.cancel_at_period_end, kept.cancel_at, kept.canceled_at) == (False, None, None)


def test_a_period_that_ends_is_renewed_and_paid(vendors):
    client = client_of(vendors)
    sub = subscribe(vendors, client)
    end = sub["items"].data[0].current_period_end

    vendors.clock.advance(end - vendors.clock.machine_s() + 1)

    wait_until(lambda: client.v1.subscriptions.retrieve(sub.id)["items"].data[0].current_period_start == end)
    bills = client.v1.invoices.list(params={"subscription": sub.id}).data
    assert [(bill.billing_reason, bill.status) for bill in bills] == [
        ("subscription_cycle", "paid"),
        ("subscription_create", "paid"),
    ]


@pytest.mark.parametrize(
    ("steps", "status", "last_events"),
    [
        (["cancel"], "canceled", ["customer.subscription.deleted"]),
        (["past_due"], "past_due", ["customer.subscription.updated", "charge.failed", "invoice.payment_failed"]),
        (["past_due", "recover"], "active", ["invoice.payment_succeeded", "customer.subscription.updated"]),
        (["past_due", "unpaid"], "unpaid", ["customer.subscription.updated"]),
        (["refund"], "active", ["refund.created", "charge.refunded"]),
        (["dispute"], "active", ["charge.dispute.created"]),
        (["dispute", "dispute_won"], "active", ["charge.dispute.closed"]),
        (["cancel_at_period_end", "period_end"], "canceled", ["customer.subscription.deleted"]),
        (["renew"], "active", ["invoice.paid", "invoice.payment_succeeded"]),
    ],
)
def test_what_the_sandbox_can_make_happen(standing, steps, status, last_events):
    client = client_of(standing)
    sub = subscribe(standing, client)

    for step in steps:
        standing.post(f"/stripe/sandbox/{sub.id}/{step}")

    assert client.v1.subscriptions.retrieve(sub.id).status == status
    assert events_of(client)[-len(last_events) :] == last_events


def test_from_a_refunded_charge_back_to_the_subscription(vendors):
    """The newest API has no charge.invoice: charge -> payment intent -> invoice payment -> invoice -> subscription."""
    client = client_of(vendors)
    sub = subscribe(vendors, client)
    vendors.post(f"/stripe/sandbox/{sub.id}/refund")

    charge = client.v1.events.list(params={"type": "charge.refunded"}).data[0].data.object
    paying = {"payment": {"type": "payment_intent", "payment_intent": charge["payment_intent"]}}
    payment = client.v1.invoice_payments.list(params=paying).data[0]
    bill = client.v1.invoices.retrieve(payment.invoice)

    assert (charge["refunded"], charge["customer"]) == (True, sub.customer)
    assert bill.parent.subscription_details.subscription == sub.id


def test_every_object_has_the_fields_of_the_newest_version(vendors):
    fields = StripeFields()
    client = client_of(vendors)
    sub = subscribe(vendors, client)
    for step in ("past_due", "recover", "refund", "cancel"):
        vendors.post(f"/stripe/sandbox/{sub.id}/{step}")
    other = subscribe(vendors, client, BASIC)
    vendors.post(f"/stripe/sandbox/{other.id}/dispute")
    portal = client.v1.billing_portal.sessions.create(params={"customer": sub.customer})

    seen = [portal, client.v1.products.list(), client.v1.prices.list(), client.v1.customers.list()]
    seen += [
        client.v1.checkout.sessions.list(),
        client.v1.subscriptions.list(params={"status": "all"}),
        client.v1.invoices.list(),
    ]
    seen += [client.v1.charges.list(), client.v1.refunds.list(), client.v1.disputes.list(), client.v1.invoice_payments.list()]
    seen += [client.v1.events.list(params={"limit": 100})]
    for one in seen:
        assert one.to_dict()
        fields.check(one.to_dict())


def test_the_same_idempotency_key_acts_once(vendors):
    client = client_of(vendors)
    options = {"idempotency_key": "order-1"}

    first = client.v1.customers.create(params={"email": "a@example.com"}, options=options)
    second = client.v1.customers.create(params={"email": "a@example.com"}, options=options)

    assert first.id == second.id and len(client.v1.customers.list().data) == 1
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create(params={"email": "b@example.com"}, options=options)
    vendors.clock.advance(86_401)
    assert client.v1.customers.create(params={"email": "a@example.com"}, options=options).id != first.id


def test_a_lost_answer_is_retried_by_the_client_without_acting_twice(vendors):
    client = client_of(vendors, max_network_retries=2)
    vendors.fault("stripe", "drop_after_accept", match="/customers")

    made = client.v1.customers.create(params={"email": "a@example.com"})

    assert [customer.id for customer in client.v1.customers.list().data] == [made.id]
    assert [line["status"] for line in vendors.wire(vendor="stripe", method="POST")] == [None, 200]


def test_a_refused_call_changes_nothing(vendors):
    client = client_of(vendors)
    before = (len(client.v1.products.list().data), len(events_of(client)))

    with pytest.raises(stripe.InvalidRequestError):  # the product is made before the price is found wanting
        client.v1.prices.create(params={"currency": "usd", "product_data": {"name": "Half made"}})

    assert (len(client.v1.products.list().data), len(events_of(client))) == before


def test_refusals_are_the_clients_own_errors(vendors):
    client = client_of(vendors)
    with pytest.raises(stripe.AuthenticationError):
        client_of(vendors, "sk_test_wrong").v1.customers.list()
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        client.v1.subscriptions.retrieve("sub_unknown")
    with pytest.raises(stripe.InvalidRequestError, match="success_url"):
        client.v1.checkout.sessions.create(params={"mode": "subscription", "line_items": [{"price": PREMIUM}]})
    with pytest.raises(stripe.InvalidRequestError, match="No such price"):
        checkout(client, "price_unknown")
    vendors.fault("stripe", "status", status=429)
    with pytest.raises(stripe.RateLimitError):
        client_of(vendors, max_network_retries=0).v1.customers.list()


def test_products_prices_and_customers(vendors):
    client = client_of(vendors)
    product = client.v1.products.create(params={"name": "Yearly", "metadata": {"tier": "premium"}})
    price = client.v1.prices.create(
        params={
            "product": product.id,
            "unit_amount": 149000,
            "currency": "usd",
            "recurring": {"interval": "year"},
            "lookup_key": "premium_yearly",
        }
    )
    customer = client.v1.customers.create(params={"email": "a@example.com", "metadata": {"telegram": "7"}})
    client.v1.customers.update(customer.id, params={"name": "A", "metadata": {"telegram": "8"}})

    assert client.v1.prices.list(params={"lookup_keys": ["premium_yearly"]}).data[0].id == price.id
    assert {one.id for one in client.v1.prices.list(params={"lookup_keys": ["premium", "basic"]}).data} == {PREMIUM, BASIC}
    found = client.v1.customers.list(params={"email": "a@example.com"}).data[0]
    assert (found.name, found.metadata["telegram"]) == ("A", "8")
    sub = client.v1.subscriptions.create(params={"customer": customer.id, "items": [{"price": price.id}]})
    assert sub["items"].data[0].plan.interval == "year"


def test_lists_page_newest_first(vendors):
    client = client_of(vendors)
    made = [client.v1.customers.create(params={"name": f"customer {n}"}).id for n in range(7)]

    first = client.v1.customers.list(params={"limit": 3})
    assert [one.id for one in first.data] == made[:3:-1] and first.has_more
    every = [one.id for one in client.v1.customers.list(params={"limit": 3}).auto_paging_iter()]
    assert every == made[::-1]


def test_the_portal_lets_a_customer_end_and_switch(vendors):
    client = client_of(vendors)
    sub = subscribe(vendors, client, BASIC)
    portal = client.v1.billing_portal.sessions.create(params={"customer": sub.customer, "return_url": "https://pages.example/me"})

    page = requests.get(portal.url, timeout=5)
    assert "AlphaTrader Basic" in page.text and "https://pages.example/me" in page.text
    for what in ({"what": "switch", "price": PREMIUM}, {"what": "cancel_at_period_end"}):
        assert requests.post(f"{portal.url}/{sub.id}", data=what, timeout=5).status_code == 200

    after = client.v1.subscriptions.retrieve(sub.id)
    assert (after["items"].data[0].price.id, after.cancel_at_period_end) == (PREMIUM, True)


def test_a_portal_of_one_customer_does_not_reach_anothers_subscription(vendors):
    client = client_of(vendors)
    mine, other = subscribe(vendors, client), subscribe(vendors, client)
    portal = client.v1.billing_portal.sessions.create(params={"customer": mine.customer})

    reply = requests.post(f"{portal.url}/{other.id}", data={"what": "cancel_at_period_end"}, timeout=5)

    assert reply.status_code == 404
    assert not client.v1.subscriptions.retrieve(other.id).cancel_at_period_end


def test_subscriptions_outlive_a_restart(tmp_path):
    with running_vendors(tmp_path) as vendors:
        sub = subscribe(vendors, client_of(vendors))
        client_of(vendors).v1.subscriptions.update(sub.id, params={"metadata": {"note": "kept"}})
    with running_vendors(tmp_path) as vendors:
        client = client_of(vendors)
        held = client.v1.subscriptions.retrieve(sub.id, params={"expand": ["customer", "latest_invoice"]})
        assert (held.status, held.metadata["note"], held.customer.email) == ("active", "kept", "a@example.com")
        assert held.latest_invoice.status == "paid"
        assert len(client.v1.prices.list().data) == 2


def wait_until(holds, seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, "not in time"
        time.sleep(0.02)
