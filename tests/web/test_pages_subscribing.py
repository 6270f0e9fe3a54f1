"""A visitor buys, changes, ends; and whatever events do, the tier is what Stripe has. Real process, servers and library."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from msgspec import structs
from stripe import StripeClient

from alphatrader.clients.stripe import StripeAccount
from alphatrader.contract import keys as k
from alphatrader.core.billing import Access, offers, standing
from tests.support.vendors import CREDENTIALS
from tests.web.running_pages import Pages, running_pages, wait_for


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """Polls once and then never in the tests' time: what changes comes from webhooks."""
    with running_pages(tmp_path_factory.mktemp("pages"), billing__poll_seconds="3600") as running:
        wait_for("the first poll", lambda: running.health().state == "ready")
        yield running


@pytest.fixture
def stripe(pages: Pages) -> Iterator[Pages]:
    """Deliveries may misbehave within a test only."""
    yield pages
    pages.vendors.post("/stripe/sandbox/webhooks", hold=False, order="normal", duplicates=0, signature="good")


def test_a_visitor_pays_and_is_premium(pages: Pages) -> None:
    user = next(pages.users)
    assert "You are on the free plan" in pages.visit(user)[1]
    address = pages.checkout(user)
    assert "$149.00" in requests.get(address, timeout=5).text

    pages.pay(address)

    pages.wait_tier(user, "premium")
    record = pages.record(user)
    assert record is not None and (record.status, record.until_s, record.telegram_id) == ("active", None, user)
    assert "You have premium" in pages.visit(user)[1]


def test_coming_back_from_checkout_is_enough_without_a_webhook(stripe: Pages) -> None:
    stripe.vendors.post("/stripe/sandbox/webhooks", hold=True)
    user = next(stripe.users)
    address = stripe.checkout(user, "basic")
    unpaid = requests.get(f"{stripe.url}/thanks", params={"session": address.rsplit("/", 1)[-1]}, timeout=10)
    assert "has not been completed" in unpaid.text

    back = requests.post(f"{address}/pay", data={"email": "a@example.com"}, allow_redirects=False, timeout=5)
    thanks = requests.get(back.headers["Location"], timeout=10)

    assert thanks.status_code == 200 and "your access has begun" in thanks.text
    held = stripe.tier(user)
    assert held is not None and held.tier == "basic"


@pytest.mark.parametrize(
    ("steps", "tier", "status"),
    [
        (["cancel"], "free", "canceled"),
        (["past_due"], "premium", "past_due"),
        (["past_due", "recover"], "premium", "active"),
        (["past_due", "unpaid"], "free", "unpaid"),
        (["refund"], "free", "refunded"),
        (["refund", "renew"], "premium", "active"),
        (["dispute"], "free", "disputed"),
        (["dispute", "dispute_won"], "premium", "active"),
        (["dispute", "dispute_lost"], "free", "disputed"),
        (["cancel_at_period_end"], "premium", "active"),
        (["cancel_at_period_end", "keep"], "premium", "active"),
        (["cancel_at_period_end", "period_end"], "free", "canceled"),
        (["renew"], "premium", "active"),
    ],
)
def test_access_is_stripes_current_state(pages: Pages, steps: list[str], tier: str, status: str) -> None:
    user, subscription = pages.subscribed()
    for step in steps:
        pages.happen(subscription, step)

    def stands() -> bool:
        record, held = pages.record(user), pages.tier(user)
        return record is not None and held is not None and (record.tier, record.status, held.tier) == (tier, status, tier)

    wait_for(f"{steps} -> {tier}, {status}", stands)


def test_of_two_subscriptions_the_highest_living_one_counts(pages: Pages) -> None:
    user = next(pages.users)
    first, second = pages.checkout(user, "basic"), pages.checkout(user, "premium")
    basic = pages.pay(first)
    pages.wait_tier(user, "basic")
    premium = pages.pay(second)
    pages.wait_tier(user, "premium")
    pages.happen(premium, "refund")
    pages.wait_tier(user, "basic")
    pages.happen(basic, "cancel")
    pages.wait_tier(user, "free")


def test_who_has_paid_is_sent_to_the_portal_and_upgrades_there(pages: Pages) -> None:
    user, subscription = pages.subscribed("basic")
    portal = pages.checkout(user, "premium")
    assert "/stripe/portal/" in portal and "Basic" in requests.get(portal, timeout=5).text
    assert pages.press(user, "/portal").headers["Location"].startswith(f"{pages.vendors.url}/stripe/portal/")

    requests.post(f"{portal}/{subscription}", data={"what": "switch", "price": "price_sandbox_premium"}, timeout=5)

    pages.wait_tier(user, "premium")


@pytest.mark.parametrize(
    ("steps", "where"),
    [
        (["past_due", "unpaid"], "/stripe/portal/"),
        (["refund"], "/stripe/portal/"),
        (["dispute"], "/stripe/portal/"),
        (["cancel"], "/checkout/"),
    ],
)
def test_whose_subscription_goes_on_without_access_is_sent_to_it_and_not_to_buy_a_second_time(
    pages: Pages, steps: list[str], where: str
) -> None:
    user, subscription = pages.subscribed("basic")
    for step in steps:
        pages.happen(subscription, step)
    pages.wait_tier(user, "free")
    assert where in pages.checkout(user, "basic")


def test_a_newer_subscription_that_ended_does_not_hide_an_older_one_that_is_to_be_paid(pages: Pages) -> None:
    user = next(pages.users)
    first, second = pages.checkout(user, "basic"), pages.checkout(user, "basic")
    older, newer = pages.pay(first), pages.pay(second)
    for subscription, step in ((older, "past_due"), (older, "unpaid"), (newer, "renew"), (newer, "cancel")):
        pages.happen(subscription, step)
    pages.wait_tier(user, "free")
    assert "/stripe/portal/" in pages.checkout(user, "basic")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 5))])
def test_any_order_and_number_of_events_ends_in_the_same_tier(stripe: Pages, seed: int) -> None:
    chance = random.Random(seed)
    stripe.vendors.post("/stripe/sandbox/webhooks", hold=True)
    users = [next(stripe.users) for _ in range(3)]
    subscriptions = [stripe.pay(stripe.checkout(user, chance.choice(["premium", "basic"]))) for user in users]
    steps = ["cancel_at_period_end", "keep", "past_due", "recover", "renew", "refund", "dispute", "cancel"]
    for subscription in subscriptions:
        for step in chance.sample(steps, 4):
            requests.post(f"{stripe.vendors.url}/stripe/sandbox/{subscription}/{step}", timeout=5)  # some are refused: as it goes

    order = chance.choice(["reversed", "shuffled"])
    stripe.vendors.post("/stripe/sandbox/webhooks", hold=False, order=order, duplicates=2)
    wait_for("every event is applied", lambda: events(stripe) <= set(stripe.store.fields(k.STRIPE_EVENTS.at())), 20)
    for user, subscription in zip(users, subscriptions, strict=True):
        expected = fetched(stripe, subscription)
        record, held = stripe.record(user), stripe.tier(user)
        assert record is not None and held is not None
        assert (record.tier, record.status, record.until_s) == (expected.tier, expected.status, expected.until_s)
        assert held.tier == expected.tier


def fetched(pages: Pages, subscription: str) -> Access:
    """What the account itself says of the subscription's customer, read anew."""
    vendors = structs.replace(pages.servers.settings.vendors, stripe_url=f"{pages.vendors.url}/stripe")
    account = StripeAccount(CREDENTIALS.stripe_secret_key, vendors, time.time_ns)
    sold, wrong = offers(account.prices(), {"premium": 149, "basic": 49})
    assert not wrong
    customer = api(pages).subscriptions.retrieve(subscription).customer
    return standing(account.subscriptions(str(customer)), sold, time.time(), 7 * 86_400)


def api(pages: Pages) -> Any:
    return StripeClient(CREDENTIALS.stripe_secret_key, base_addresses={"api": f"{pages.vendors.url}/stripe"}).v1


def events(pages: Pages) -> set[str]:
    """The ids of all events that the account has seen."""
    return {event.id for event in api(pages).events.list({"limit": 100}).auto_paging_iter()}
