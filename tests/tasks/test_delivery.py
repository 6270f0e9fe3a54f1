"""The courier over real servers and the vendors' real clients: once, never early, and what is lost is said."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.messages.distribution import Delivery, TelegramTier
from alphatrader.contract.modules import Module
from alphatrader.core.distribution import ledger, tiers
from alphatrader.runtime.health import Heartbeat
from alphatrader.tasks.delivery import Courier
from tests.support.people import MONDAY_TEN_NS, NS, a_signal, context_of, led_to, market_clock, until, vendors_on

QUEUES = {"premium": k.PREMIUM_QUEUE.at(), "basic": k.BASIC_QUEUE.at(), "free": k.FREE_QUEUE.at()}
TELEGRAM = k.TELEGRAM_SIGNALS_QUEUE.at(symbol="SPY")


class Desk:
    """A courier, the queues before it and the vendors behind it."""

    def __init__(self, servers, vendors, clock, folder):
        self.servers, self.vendors, self.clock = servers, vendors, clock
        self.settings = led_to(servers.settings, vendors.url, timeout_seconds=1.0, breaker_reset_seconds=0.3)
        self.context = context_of(Module.DELIVERY, servers, self.settings, clock, folder)
        self.store = servers.store(Module.DELIVERY)
        self.distribution = servers.store(Module.DISTRIBUTION)
        self.courier = self.another()

    def another(self) -> Courier:
        """Another worker's courier."""
        self.health = Heartbeat(Module.DELIVERY, self.clock)
        here = self.context
        store = self.servers.store(Module.DELIVERY)
        return Courier(store, self.settings, here.secrets, self.clock, self.health, here.log)

    def said(self):
        """What the heartbeat of the last courier would say: state, reason."""
        self.courier.tell_health()
        batch = self.store.batch()
        self.health.add_to(batch, self.store.refused)
        self.store.commit(batch)
        health = self.store.get(k.HEALTH.at(module=Module.DELIVERY))
        return health.state, health.reason

    def enqueue(self, queue, *deliveries: Delivery) -> None:
        batch = self.distribution.batch()
        for delivery in deliveries:
            batch.enqueue(queue, delivery.due_ns, delivery)
        self.distribution.commit(batch)

    def signal(self, number: int = 1, age_seconds: float = 0.0) -> dict[str, Delivery]:
        signal = a_signal(number, ts_ns=self.clock.market_ns() - round(age_seconds * NS))
        return {one.tier: one for one in tiers.of_signal(signal, 1, self.settings.distribution)}

    def users(self, **by_id: str) -> None:
        pages = self.servers.store(Module.PAGES)
        batch = pages.batch()
        for user, tier in by_id.items():
            batch.put(k.TELEGRAM_TIER.at(id=user.lstrip("u")), TelegramTier(tier, None, 0))
        pages.commit(batch)
        pages.close()

    def ledger(self):
        return self.store.fields(k.LEDGER_DELIVERY.at())

    def state(self, delivery: Delivery, recipient: str) -> str | None:
        record = self.store.field(k.LEDGER_DELIVERY.at(), f"{delivery.id}|{recipient}")
        return record.state if record else None

    def told(self, channel: str) -> list[dict]:
        return self.vendors.told(channel=channel)


@pytest.fixture
def desk(servers, tmp_path):
    clock = market_clock()
    with vendors_on(clock, tmp_path / "vendors") as vendors:
        yield Desk(servers, vendors, clock, tmp_path)


def test_a_due_signal_reaches_its_channel_once_and_leaves_the_queue(desk):
    delivery = desk.signal()["premium"]
    desk.enqueue(QUEUES["premium"], delivery)

    desk.courier.drain(QUEUES["premium"])
    desk.courier.drain(QUEUES["premium"])

    (message,) = desk.told("premium")
    assert delivery.about in message["text"] and "Not investment advice" in message["text"]
    record = desk.ledger()[f"{delivery.id}|discord:premium"]
    assert (record.state, record.attempts) == ("sent", 1) and record.vendor_id
    assert desk.store.length(QUEUES["premium"]) == 0
    assert desk.said()[0] == "ready"


def test_not_a_byte_leaves_before_the_due_time_and_the_task_learns_when_to_come_again(desk):
    delivery = desk.signal(age_seconds=59.4)["basic"]
    desk.enqueue(QUEUES["basic"], delivery)

    left = desk.courier.drain(QUEUES["basic"])
    assert 0 < left < 0.7 and desk.told("basic") == []

    until(lambda: desk.courier.drain(QUEUES["basic"]) is None, 3)
    (message,) = desk.told("basic")
    assert 0 <= message["received_market_ns"] - delivery.due_ns < NS


def test_a_score_cut_to_a_millisecond_lets_nothing_out_early(desk):
    for number in range(4):
        delivery = replace(desk.signal(number)["premium"], due_ns=desk.clock.market_ns() + 999_999)
        desk.enqueue(QUEUES["premium"], delivery)
        while (left := desk.courier.drain(QUEUES["premium"])) is not None:
            time.sleep(max(0.0, left))
        (message,) = [one for one in desk.told("premium") if delivery.about in one["text"]]
        assert message["received_market_ns"] >= delivery.due_ns


def test_telegram_tells_the_channel_and_the_entitled_users(desk):
    desk.users(u11="premium", u12="basic", u13="free")
    deliveries = desk.signal(age_seconds=301)
    desk.enqueue(TELEGRAM, *deliveries.values())

    desk.courier.drain(TELEGRAM)

    told = {(one["channel"], "Targets" in one["text"], "Entry" in one["text"]) for one in desk.vendors.told(vendor="telegram")}
    assert told == {
        ("-1003", True, True),
        ("11", True, True),
        ("-1002", False, True),
        ("12", False, True),
        ("-1001", False, False),
    }
    assert desk.store.length(TELEGRAM) == 0


def test_many_threads_and_workers_at_once_send_one_message(desk):
    desk.users(**{f"u{n}": "premium" for n in range(1, 6)})
    deliveries = [desk.signal(number)["premium"] for number in range(3)]
    desk.enqueue(TELEGRAM, *deliveries)
    workers = [desk.another() for _ in range(4)]
    together = threading.Barrier(8)

    def work(number: int) -> None:
        together.wait(5)
        workers[number % 4].drain(TELEGRAM)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    until(lambda: workers[0].drain(TELEGRAM) is None)

    counts = [(one["channel"], one["text"]) for one in desk.vendors.told(vendor="telegram")]
    assert len(counts) == len(set(counts)) == 3 * 6


def test_a_vendor_that_asks_for_time_gets_it_and_the_message_still_arrives_once(desk):
    delivery = desk.signal()["premium"]
    desk.enqueue(QUEUES["premium"], delivery)
    desk.vendors.fault("discord", "status", status=429, seconds=1, count=1)

    desk.courier.drain(QUEUES["premium"])
    record = desk.ledger()[f"{delivery.id}|discord:premium"]
    assert record.state == "failed" and record.retry_machine_ns is not None
    assert desk.told("premium") == []

    make_due(desk, delivery, "discord:premium")
    desk.courier.drain(QUEUES["premium"])
    assert len(desk.told("premium")) == 1 and desk.store.length(QUEUES["premium"]) == 0
    assert list(desk.ledger()) == [f"{delivery.id}|discord:premium"]
    assert desk.state(delivery, "discord:premium") == "sent"


def make_due(desk: Desk, delivery: Delivery, recipient: str) -> None:
    """The back-off is over."""
    field = f"{delivery.id}|{recipient}"
    record = desk.store.field(k.LEDGER_DELIVERY.at(), field)
    batch = desk.store.batch()
    batch.put_field(k.LEDGER_DELIVERY.at(), field, replace(record, retry_machine_ns=desk.clock.machine_ns()))
    desk.store.commit(batch)


def test_workers_that_retry_at_once_send_one_message(desk):
    delivery = desk.signal()["premium"]
    desk.enqueue(QUEUES["premium"], delivery)
    desk.vendors.fault("discord", "status", status=503)
    desk.courier.drain(QUEUES["premium"])
    make_due(desk, delivery, "discord:premium")
    workers = [desk.another() for _ in range(4)]
    together = threading.Barrier(4)

    def work(worker: Courier) -> None:
        together.wait(5)
        worker.drain(QUEUES["premium"])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, workers))

    assert len(desk.told("premium")) == 1
    assert desk.ledger()[f"{delivery.id}|discord:premium"].attempts == 2


def test_who_comes_to_a_retry_after_it_failed_again_waits_as_the_vendor_asks(desk):
    delivery, recipient = desk.signal()["premium"], "discord:premium"
    field = f"{delivery.id}|{recipient}"
    desk.enqueue(QUEUES["premium"], delivery)
    desk.vendors.fault("discord", "status", status=503)
    # given a worker that saw the line due, and another that tried meanwhile and was sent away again
    desk.courier.drain(QUEUES["premium"])
    # then it asks the vendor nothing before its time, and leaves the line as it is
    before = desk.ledger()
    assert before[field].state == "failed"
    assert desk.another()._retry(delivery, recipient, field) == "later"
    assert (desk.told("premium"), desk.ledger()) == ([], before)


@pytest.mark.parametrize("fault", ["drop_after_accept", "timeout"])
def test_a_lost_answer_is_unknown_never_sent_again_and_shown(desk, fault):
    delivery = desk.signal()["premium"]
    desk.enqueue(QUEUES["premium"], delivery)
    desk.vendors.fault("discord", fault, seconds=2)

    desk.courier.drain(QUEUES["premium"])
    desk.courier.drain(QUEUES["premium"])

    assert desk.state(delivery, "discord:premium") == "unknown"
    assert len(desk.vendors.wire(vendor="discord")) <= 1
    assert desk.store.length(QUEUES["premium"]) == 0
    state, reason = desk.said()
    assert state == "degraded" and delivery.id in reason


def test_an_unreachable_vendor_costs_no_attempt_and_nothing_is_lost(desk):
    delivery = desk.signal()["premium"]
    desk.enqueue(QUEUES["premium"], delivery)
    away = replace(desk.settings.vendors, discord_url="http://127.0.0.1:9/discord", breaker_failures=1)
    desk.settings, there = replace(desk.settings, vendors=away), desk.settings
    desk.courier = desk.another()

    desk.courier.drain(QUEUES["premium"])
    assert desk.ledger()[f"{delivery.id}|discord:premium"].attempts == 0
    assert desk.said() == ("degraded", "discord cannot be reached")

    desk.settings = there
    make_due(desk, delivery, "discord:premium")
    desk.another().drain(QUEUES["premium"])
    assert len(desk.told("premium")) == 1


def test_a_refused_message_ends_with_its_reason_and_does_not_hold_the_others(desk):
    desk.users(u11="premium", u12="premium")
    desk.vendors.post("/telegram/sandbox/block", user_id=11)
    delivery = desk.signal()["premium"]
    desk.enqueue(TELEGRAM, delivery)

    desk.courier.drain(TELEGRAM)

    assert [desk.state(delivery, f"telegram:{who}") for who in (11, 12, -1003)] == ["failed", "sent", "sent"]
    assert "blocked" in desk.ledger()[f"{delivery.id}|telegram:11"].reason
    assert desk.store.length(TELEGRAM) == 0


def test_what_a_dead_worker_was_sending_is_unknown_after_a_minute_and_not_before(desk):
    delivery = desk.signal()["premium"]
    desk.enqueue(QUEUES["premium"], delivery)
    claim = ledger.claim(delivery, "discord:premium", MONDAY_TEN_NS, desk.clock.machine_ns() - 30 * NS, None)
    field = f"{delivery.id}|discord:premium"
    assert desk.store.put_field_once(k.LEDGER_DELIVERY.at(), field, claim)

    desk.courier.drain(QUEUES["premium"])
    assert desk.state(delivery, "discord:premium") == "sending" and desk.store.length(QUEUES["premium"]) == 1

    batch = desk.store.batch()
    batch.put_field(k.LEDGER_DELIVERY.at(), field, replace(claim, machine_ns=desk.clock.machine_ns() - 61 * NS))
    desk.store.commit(batch)
    desk.courier.drain(QUEUES["premium"])
    assert desk.state(delivery, "discord:premium") == "unknown" and desk.store.length(QUEUES["premium"]) == 0
    assert desk.told("premium") == []


def test_what_a_dead_worker_was_sending_does_not_hold_what_comes_after(desk):
    first, second = desk.signal(1)["premium"], desk.signal(2)["premium"]
    desk.enqueue(QUEUES["premium"], first, second)
    claim = ledger.claim(first, "discord:premium", MONDAY_TEN_NS, desk.clock.machine_ns(), None)
    assert desk.store.put_field_once(k.LEDGER_DELIVERY.at(), f"{first.id}|discord:premium", claim)

    desk.courier.drain(QUEUES["premium"])

    assert desk.state(second, "discord:premium") == "sent" and desk.state(first, "discord:premium") == "sending"


def test_who_asks_for_time_gets_it_for_all_that_follows_in_order(desk):
    deliveries = [desk.signal(number)["premium"] for number in (1, 2, 3)]
    desk.enqueue(QUEUES["premium"], *deliveries)
    desk.vendors.fault("discord", "status", status=429, seconds=1)

    desk.courier.drain(QUEUES["premium"])
    assert desk.told("premium") == [] and len(desk.vendors.wire(vendor="discord")) == 1

    make_due(desk, deliveries[0], "discord:premium")
    desk.courier.drain(QUEUES["premium"])
    assert [one["text"].split("ref ")[1].split(" ")[0] for one in desk.told("premium")] == [one.about for one in deliveries]


def test_a_restarted_worker_still_shows_what_was_lost(desk):
    delivery = desk.signal()["premium"]
    desk.enqueue(QUEUES["premium"], delivery)
    desk.vendors.fault("discord", "drop_after_accept")
    desk.courier.drain(QUEUES["premium"])

    desk.courier = desk.another()

    state, reason = desk.said()
    assert state == "degraded" and delivery.id in reason


def test_a_message_late_beyond_the_limit_says_so(desk):
    delivery = desk.signal(age_seconds=60 + 901)["basic"]
    desk.enqueue(QUEUES["basic"], delivery)

    desk.courier.drain(QUEUES["basic"])

    (message,) = desk.told("basic")
    assert "LATE by 15 min" in message["text"]
    assert desk.state(delivery, "discord:basic") == "late"


def test_the_sweep_finds_exactly_the_queues_with_something_due(desk):
    due, early = desk.signal(1, age_seconds=60), desk.signal(2)
    desk.enqueue(QUEUES["basic"], due["basic"])
    desk.enqueue(TELEGRAM, early["free"], due["premium"])
    desk.enqueue(QUEUES["free"], early["free"])

    assert {queue.name for queue in desk.courier.overdue()} == {"distribution:basic:queue", "telegram:signals:SPY:queue"}
