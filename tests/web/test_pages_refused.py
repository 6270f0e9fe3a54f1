"""What is not Stripe's event changes nothing: forged, old, malformed, of the wrong mode, too large."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alphatrader.contract import keys as k
from tests.support.vendors import CREDENTIALS
from tests.web.running_pages import Pages, event, running_pages, send, wait_for

REFUSED = [
    ({"secret": "whsec_of_somebody_else"}, "signature"),
    ({"age": 600}, "signature"),
    ({"signature": ""}, "signature"),
    ({"signature": "t=now,v1=zz"}, "signature"),
    ({"change": {"livemode": True}}, "livemode"),
    ({"change": {"livemode": "no"}}, "livemode"),
    ({"change": {"id": "../../etc"}}, "$.id"),
    ({"change": {"data": {}}}, "object"),
    ({"body": b"[]"}, "object"),
    ({"body": b"{"}, "malformed"),
    ({"body": b"\xff\xfe{}"}, "signature"),
    ({"body": b" " * 5_000_000}, "too large"),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with running_pages(tmp_path_factory.mktemp("refused"), billing__poll_seconds="3600") as running:
        wait_for("the first poll", lambda: running.health().state == "ready")
        yield running


@pytest.fixture(scope="module")
def victim(pages: Pages) -> tuple[int, str]:
    """A subscriber who has ended at Stripe, unseen: any event that is believed would bring it to light. Telegram id, customer."""
    pages.vendors.post("/stripe/sandbox/webhooks", hold=True)
    user = next(pages.users)
    address = pages.checkout(user)
    subscription = pages.pay(address)
    record = pages.record(user)
    assert record is not None
    customer = str(record.stripe_customer)
    assert send(pages, json.dumps(event(customer)).encode()).status_code == 200
    pages.wait_tier(user, "premium")
    pages.happen(subscription, "cancel")
    return user, customer


@pytest.mark.parametrize(("how", "reason"), REFUSED)
def test_it_is_refused_with_its_reason(pages: Pages, victim: tuple[int, str], how: dict[str, Any], reason: str) -> None:
    user, customer = victim
    how = dict(how)
    body = how.pop("body", None) or json.dumps(event(customer, **how.pop("change", {}))).encode()
    before = pages.record(user), pages.tier(user), pages.store.fields(k.STRIPE_EVENTS.at())

    answer = send(pages, body, **how)

    assert answer.status_code == 400 and reason in answer.text, answer.text
    assert (pages.record(user), pages.tier(user), pages.store.fields(k.STRIPE_EVENTS.at())) == before


def test_each_was_counted_and_a_true_event_is_still_believed(pages: Pages, victim: tuple[int, str]) -> None:
    user, customer = victim
    wait_for("all are counted", lambda: pages.health().counts.get("webhooks refused") == len(REFUSED))
    assert send(pages, json.dumps(event(customer)).encode()).status_code == 200
    held = pages.tier(user)
    assert held is not None and held.tier == "free"


def test_no_secret_is_in_log_or_answer(pages: Pages, victim: tuple[int, str]) -> None:
    logs = [pages.log, *Path(pages.servers.environment["ALPHATRADER_LOG_DIR"]).rglob("*")]
    text = "".join(path.read_text(errors="replace") for path in logs if path.is_file())
    text += send(pages, b"{}", secret="wrong").text
    assert "webhook_refused" in text
    for secret in (
        CREDENTIALS.stripe_webhook_secret,
        CREDENTIALS.stripe_secret_key,
        pages.servers.vault.get("session_key") or "?",
    ):
        assert secret not in text
