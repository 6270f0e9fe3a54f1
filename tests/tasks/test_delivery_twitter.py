"""TwitterBot over a real server and tweepy: a win is posted once, not before the free tier could know, and nothing twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from alphatrader.clients.twitter import XKeys, XPoster
from alphatrader.contract import keys as k
from alphatrader.contract.messages.distribution import Tweet
from alphatrader.contract.modules import Module
from alphatrader.runtime.health import Heartbeat
from alphatrader.tasks.twitter import TwitterBot
from tests.support.people import NS, a_signal, a_trade, context_of, led_to, market_clock, vendors_on
from tests.support.vendors import CREDENTIALS

KEYS = XKeys(
    CREDENTIALS.x_consumer_key, CREDENTIALS.x_consumer_secret, CREDENTIALS.x_access_token, CREDENTIALS.x_access_token_secret
)


class Desk:
    def __init__(self, servers, vendors, clock, folder):
        self.servers, self.vendors, self.clock = servers, vendors, clock
        self.settings = led_to(servers.settings, vendors.url, timeout_seconds=1.0)
        self.log = context_of(Module.DELIVERY, servers, self.settings, clock, folder).log
        self.store = servers.store(Module.DELIVERY)
        self.bot = self.another()

    def another(self, *, configured: bool = True) -> TwitterBot:
        poster = XPoster(self.settings.vendors, KEYS, self.clock.machine_ns) if configured else None
        health = Heartbeat(Module.DELIVERY, self.clock)
        return TwitterBot(self.servers.store(Module.DELIVERY), self.settings, poster, self.clock, health, self.log)

    def trade(self, number: int, pnl: str, age_seconds: float, **more) -> str:
        trade = a_trade(a_signal(number), pnl, self.clock.market_ns() - round(age_seconds * NS), **more)
        store = self.servers.store(Module.POSITIONS)
        batch = store.batch()
        batch.put_field(k.LEDGER_TRADES.at(), trade.position_id, trade)
        store.commit(batch)
        store.close()
        return trade.position_id

    def told(self) -> list[str]:
        return [one["text"] for one in self.vendors.told(vendor="x")]

    def state(self, position: str) -> str | None:
        tweet = self.store.field(k.POSTED_SIGNALS.at(), position)
        return tweet.state if tweet else None


@pytest.fixture
def desk(servers, tmp_path):
    clock = market_clock()
    with vendors_on(clock, tmp_path / "vendors") as vendors:
        yield Desk(servers, vendors, clock, tmp_path)


def test_a_win_is_posted_once_and_kept(desk):
    position = desk.trade(1, "187.40", 301)

    desk.bot.announce(position)
    desk.bot.announce(position)
    desk.bot.sweep()

    (text,) = desk.told()
    assert "+$187.40" in text and position in text and "not investment advice" in text.lower()
    tweet = desk.store.field(k.POSTED_SIGNALS.at(), position)
    assert tweet.state == "posted" and desk.store.get(k.TWEET.at(id=tweet.id)).text == text
    assert 86_000_000 < desk.store.ttl_ms(k.TWEET.at(id=tweet.id)) <= 86_400_000


def test_it_waits_for_the_free_tiers_delay(desk):
    position = desk.trade(1, "187.40", 290)

    left = desk.bot.announce(position)
    desk.bot.sweep()

    assert 9 < left <= 10 and desk.told() == [] and desk.state(position) is None


def test_losses_adopted_positions_guessed_exits_open_bills_and_old_news_are_not_posted(desk):
    desk.trade(1, "-5", 400)
    desk.trade(2, "0", 400)
    desk.trade(3, "50", 400, exit_known=False)
    desk.trade(4, "50", 400, position_id="ext-501")
    desk.trade(5, "50", 25 * 3600)
    desk.trade(6, "50", 400, commissions_known=False)

    desk.bot.sweep()

    assert desk.told() == []


def test_the_sweep_finds_what_was_never_announced_and_workers_at_once_post_one(desk):
    positions = [desk.trade(number, f"{number}.50", 400) for number in (1, 2, 3)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda bot: bot.sweep(), [desk.another() for _ in range(4)]))

    assert sorted(text.split("ref ")[1].split("\n")[0] for text in desk.told()) == positions


@pytest.mark.parametrize("fault", ["drop_after_accept", "timeout"])
def test_a_lost_answer_is_unknown_and_not_repeated(desk, fault):
    position = desk.trade(1, "187.40", 400)
    desk.vendors.fault("x", fault, seconds=2)

    desk.bot.announce(position)
    desk.bot.sweep()
    desk.another().sweep()

    assert desk.state(position) == "unknown" and len(desk.told()) <= 1


def test_a_limit_gives_the_claim_back_and_x_its_rest(desk):
    position = desk.trade(1, "187.40", 400)
    desk.vendors.fault("x", "status", status=429, seconds=90)

    desk.bot.announce(position)
    desk.bot.sweep()
    assert desk.state(position) is None and desk.told() == [] and len(desk.vendors.wire(vendor="x")) == 1

    desk.another().sweep()
    assert desk.state(position) == "posted" and len(desk.told()) == 1


def test_a_duplicate_counts_as_posted_and_a_refusal_as_failed(desk):
    first, second = desk.trade(1, "187.40", 400), desk.trade(2, "20", 400)
    desk.bot.announce(first)
    batch = desk.store.batch()
    batch.drop_field(k.POSTED_SIGNALS.at(), first)  # as after a state server that lost its last second
    desk.store.commit(batch)

    desk.bot.announce(first)
    assert desk.state(first) == "posted" and len(desk.told()) == 1

    desk.vendors.fault("x", "status", status=401)
    desk.bot.announce(second)
    assert desk.state(second) == "failed"


def test_a_claim_of_a_dead_worker_becomes_unknown(desk):
    position = desk.trade(1, "187.40", 400)
    claim = Tweet("", "text", position, 0, "sending", desk.clock.machine_ns() - 30 * NS)
    for age, state in ((30, "sending"), (61, "unknown")):
        batch = desk.store.batch()
        batch.put_field(k.POSTED_SIGNALS.at(), position, replace(claim, machine_ns=desk.clock.machine_ns() - age * NS))
        desk.store.commit(batch)
        desk.bot.sweep()
        assert desk.state(position) == state
    assert desk.told() == []


def test_without_keys_nothing_is_posted_or_claimed(desk):
    position = desk.trade(1, "187.40", 400)
    desk.another(configured=False).sweep()
    assert desk.state(position) is None
