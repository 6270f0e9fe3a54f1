"""Events of the Stripe stand-in on their way to the product: signed, retried, held, doubled, out of order, durable."""

from __future__ import annotations

import json
import socket
import time

import pytest
import requests
import stripe

from tests.support.vendors import HandClock, Receiver, running_receiver, running_vendors

SECRET = "whsec_sandbox_secret"
OF_A_SALE = 6  # events that a paid checkout causes


@pytest.fixture
def receiver():
    with running_receiver() as running:
        yield running


@pytest.fixture
def vendors(tmp_path, receiver):
    with running_vendors(tmp_path, stripe_webhook_url=receiver.url) as running:
        yield running


def sell(vendors) -> dict:
    client = stripe.StripeClient(vendors.credentials.stripe_secret_key, base_addresses={"api": f"{vendors.url}/stripe"})
    session = client.v1.checkout.sessions.create(
        params={
            "mode": "subscription",
            "line_items": [{"price": "price_sandbox_basic", "quantity": 1}],
            "success_url": "https://pages.example/",
        }
    )
    return vendors.post(f"/stripe/sandbox/pay/{session.id}")


def ids_of(receiver: Receiver) -> list[str]:
    return [json.loads(body)["id"] for _, body in receiver.posts]


def test_every_event_of_a_sale_arrives_in_order_and_stripes_own_check_takes_it(vendors, receiver):
    session = sell(vendors)

    receiver.wait_for(lambda posts: len(posts) == OF_A_SALE)
    assert receiver.types()[0] == "customer.created" and receiver.types()[-1] == "checkout.session.completed"
    headers, body = receiver.posts[-1]
    event = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], SECRET)
    assert event["data"]["object"]["subscription"] == session["subscription"]
    assert (event["livemode"], event["api_version"]) == (False, "2026-10-28.endive")
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body + b" ", headers["Stripe-Signature"], SECRET)


def test_what_failed_is_tried_again_with_growing_pauses(vendors, receiver):
    receiver.statuses[:] = [500] * OF_A_SALE
    sell(vendors)
    receiver.wait_for(lambda posts: len(posts) == OF_A_SALE)

    vendors.clock.advance(0.9)
    assert len(receiver.posts) == OF_A_SALE
    receiver.statuses[:] = [404] + [200] * (OF_A_SALE - 1)
    vendors.clock.advance(0.2)
    receiver.wait_for(lambda posts: len(posts) == 2 * OF_A_SALE)
    vendors.clock.advance(2.1)
    receiver.wait_for(lambda posts: len(posts) == 2 * OF_A_SALE + 1)

    assert len(set(ids_of(receiver))) == OF_A_SALE
    wait_for_lines(vendors, 2 * OF_A_SALE + 1, direction="out")
    out = vendors.wire(vendor="stripe", direction="out")
    assert [line["status"] for line in out] == [500] * OF_A_SALE + [404] + [200] * OF_A_SALE


def test_an_endpoint_that_is_down_gets_its_events_after_a_restart_of_the_sandbox(tmp_path):
    clock = HandClock()
    with running_receiver() as gone:
        url = gone.url
    with running_vendors(tmp_path, clock=clock, stripe_webhook_url=url) as vendors:
        sell(vendors)
        wait_for_lines(vendors, 1, status=None, direction="out")
    clock.advance(60)
    with running_receiver() as receiver, running_vendors(tmp_path, clock=clock, stripe_webhook_url=receiver.url):
        receiver.wait_for(lambda posts: len(posts) == OF_A_SALE)
        assert len(set(ids_of(receiver))) == OF_A_SALE


def test_duplicates(vendors, receiver):
    vendors.post("/stripe/sandbox/webhooks", duplicates=9)
    sell(vendors)

    receiver.wait_for(lambda posts: len(posts) == OF_A_SALE * 10)
    assert all(ids_of(receiver).count(event) == 10 for event in set(ids_of(receiver)))


def test_held_events_come_in_the_order_that_was_asked_for(vendors, receiver):
    vendors.post("/stripe/sandbox/webhooks", hold=True)
    session = sell(vendors)
    vendors.post(f"/stripe/sandbox/{session['subscription']}/cancel")
    assert receiver.posts == []

    assert vendors.post("/stripe/sandbox/webhooks", hold=False, order="reversed")["waiting"] == OF_A_SALE + 1

    receiver.wait_for(lambda posts: len(posts) == OF_A_SALE + 1)
    assert receiver.types()[:2] == ["customer.subscription.deleted", "checkout.session.completed"]
    assert receiver.types()[-1] == "customer.created"


@pytest.mark.parametrize(("how", "reason"), [("wrong", "No signatures found"), ("old", "Timestamp outside the tolerance")])
def test_bad_signatures_are_refused_by_stripes_own_check(vendors, receiver, how, reason):
    vendors.post("/stripe/sandbox/webhooks", signature=how)
    sell(vendors)

    receiver.wait_for(lambda posts: len(posts) >= 1)
    headers, body = receiver.posts[0]
    with pytest.raises(stripe.SignatureVerificationError, match=reason):
        stripe.Webhook.construct_event(body, headers["Stripe-Signature"], SECRET)


def test_an_event_can_be_delivered_once_more(vendors, receiver):
    sell(vendors)
    receiver.wait_for(lambda posts: len(posts) == OF_A_SALE)
    event = ids_of(receiver)[0]

    vendors.post(f"/stripe/sandbox/deliver/{event}")

    receiver.wait_for(lambda posts: len(posts) == OF_A_SALE + 1)
    assert ids_of(receiver)[-1] == event


def test_wrong_wishes_are_named(vendors):
    for wish, word in (({"order": "sideways"}, "order"), ({"duplicates": -1}, "duplicates"), ({"hodl": True}, "hodl")):
        reply = requests.post(f"{vendors.url}/stripe/sandbox/webhooks", json=wish, timeout=5)
        assert reply.status_code == 400 and word in reply.json()["error"]


def test_the_webhook_secret_stays_out_of_the_log(vendors, receiver):
    sell(vendors)
    receiver.wait_for(lambda posts: len(posts) == OF_A_SALE)
    wait_for_lines(vendors, OF_A_SALE, direction="out")

    text = (vendors.data_dir / "vendors.jsonl").read_text()
    assert SECRET not in text and vendors.credentials.stripe_secret_key not in text


def wait_for_lines(vendors, count: int, **wanted) -> None:
    """The log's line of a delivery is written when its answer is in, a moment after the receiver saw it."""
    limit = time.monotonic() + 5
    while len(vendors.wire(**wanted)) < count:
        assert time.monotonic() < limit, f"not {count} lines {wanted}"
        time.sleep(0.02)


def test_an_endpoint_that_never_answers_does_not_hold_up_the_stop(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/webhook"
        with running_vendors(tmp_path, stripe_webhook_url=url) as vendors:
            sell(vendors)
            silent.settimeout(5)
            connection, _ = silent.accept()
            started = time.monotonic()
        assert time.monotonic() - started < 2.5
        connection.close()
