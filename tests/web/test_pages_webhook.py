"""Events told once or ten times, lost, or while Stripe is away; ends on their second. Real process, servers and library."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from stripe import StripeClient

from alphatrader.contract import keys as k
from alphatrader.sandbox.vendors.stripe_billing import period_after
from tests.support.vendors import CREDENTIALS, HandClock
from tests.web.running_pages import Pages, event, running_pages, send, wait_for

SECRET = CREDENTIALS.stripe_webhook_secret


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """Polls each second: lost webhooks are healed within the tests."""
    with running_pages(tmp_path_factory.mktemp("webhook"), billing__poll_seconds="1") as running:
        wait_for("the first poll", lambda: running.health().state == "ready")
        yield running


@pytest.fixture
def silent(pages: Pages) -> Iterator[Pages]:
    """All webhooks are lost."""
    pages.vendors.post("/stripe/sandbox/webhooks", hold=True)
    yield pages
    pages.vendors.post("/stripe/sandbox/webhooks", hold=False)


def test_one_event_ten_times_at_once_has_one_effect(silent: Pages) -> None:
    user = next(silent.users)
    silent.pay(silent.checkout(user, "basic"))
    silent.wait_tier(user, "basic")
    record = silent.record(user)
    assert record is not None
    body = json.dumps(event(str(record.stripe_customer))).encode()
    before = silent.health().counts.get("tiers changed", 0)

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: send(silent, body).status_code, range(10)))

    assert answers == [200] * 10
    assert json.loads(body)["id"] in silent.store.fields(k.STRIPE_EVENTS.at())
    assert silent.health().counts.get("tiers changed", 0) == before


def test_an_event_that_says_active_does_not_revive_what_stripe_has_ended(silent: Pages) -> None:
    user = next(silent.users)
    subscription = silent.pay(silent.checkout(user))
    silent.wait_tier(user, "premium")
    record = silent.record(user)
    silent.happen(subscription, "cancel")
    assert record is not None and send(silent, json.dumps(event(str(record.stripe_customer))).encode()).status_code == 200
    held = silent.tier(user)
    assert held is not None and held.tier == "free"


def test_with_all_webhooks_lost_the_poll_gives_and_takes(silent: Pages) -> None:
    user = next(silent.users)
    subscription = silent.pay(silent.checkout(user))
    silent.wait_tier(user, "premium")
    silent.happen(subscription, "dispute")
    silent.wait_tier(user, "free")


def test_while_stripe_is_away_what_stood_stands_and_the_event_is_asked_for_again(silent: Pages) -> None:
    user = next(silent.users)
    subscription = silent.pay(silent.checkout(user))
    silent.wait_tier(user, "premium")
    record = silent.record(user)
    assert record is not None
    silent.vendors.fault("stripe", "status", status=500, match="/v1/", count=1000)
    silent.happen(subscription, "cancel")
    body = json.dumps(event(str(record.stripe_customer))).encode()

    assert send(silent, body).status_code == 503
    wait_for("it says so", lambda: silent.health().state == "degraded")
    held = silent.tier(user)
    assert held is not None and held.tier == "premium"
    assert json.loads(body)["id"] not in silent.store.fields(k.STRIPE_EVENTS.at())
    assert silent.press(user, "/checkout", tier="premium").status_code == 503

    requests.delete(f"{silent.vendors.url}/sandbox/faults", timeout=5)
    silent.wait_tier(user, "free", 20)
    wait_for("all is well again", lambda: silent.health().state == "ready", 20)


def test_subscribers_that_redis_lost_come_back_from_stripe(pages: Pages) -> None:
    user, _ = pages.subscribed()
    pages.servers.flush()
    pages.wait_tier(user, "premium", 20)


def test_no_secret_is_in_the_log(pages: Pages) -> None:
    logs = [pages.log, *Path(pages.servers.environment["ALPHATRADER_LOG_DIR"]).rglob("*")]
    text = "".join(path.read_text(errors="replace") for path in logs if path.is_file())
    assert "webhook_put_off" in text
    for secret in (SECRET, CREDENTIALS.stripe_secret_key, pages.servers.vault.get("session_key") or "?"):
        assert secret not in text


def test_what_is_cancelled_to_its_end_ends_then_and_not_before_though_stripe_is_away(tmp_path: Path) -> None:
    """Given a month that ends in some seconds; then Stripe does not answer any more, and the pages are started anew."""
    clock = HandClock()
    with running_pages(tmp_path, clock=clock, billing__poll_seconds="0.5") as pages:
        wait_for("the first poll", lambda: pages.health().state == "ready")
        end = int(time.time()) + 8  # from here on: a slow machine's start takes nothing from them
        began = [end - days * 86_400 for days in range(28, 32) if period_after(end - days * 86_400, "month", 1) == end]
        if not began:
            pytest.skip("no billing month ends on this day of the year")
        clock.machine = began[0]
        user = next(pages.users)
        subscription = pages.pay(pages.checkout(user))
        pages.happen(subscription, "cancel_at_period_end")
        key = CREDENTIALS.stripe_secret_key
        api = StripeClient(key, base_addresses={"api": f"{pages.vendors.url}/stripe"}).v1
        ends = api.subscriptions.retrieve(subscription).cancel_at
        record = wait_for("the end is known", lambda: (had := pages.record(user)) and had.until_s and had)
        assert (record.tier, record.until_s) == ("premium", ends)
        assert "Access ends on" in pages.visit(user)[1]
        pages.vendors.fault("stripe", "status", status=500, match="/v1/", count=1000)
        pages.stop()
        pages.start()

        pages.wait_tier(user, "free", 60)

        ended = pages.tier(user)
        assert ended is not None and ends is not None
        assert ended.machine_ns / 1e9 >= ends
