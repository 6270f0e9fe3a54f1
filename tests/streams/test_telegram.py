"""TelegramBot through python-telegram-bot against the stand-in, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from itsdangerous import URLSafeTimedSerializer
from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.messages.distribution import TelegramTier
from alphatrader.contract.messages.risk import ControlRequest, Halt
from alphatrader.contract.modules import Module
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.store import StoreLost
from alphatrader.streams.telegram import TelegramBot
from tests.support.modules import running_module
from tests.support.people import NS, a_position, a_signal, context_of, led_to, market_clock, vendors_on
from tests.support.servers import free_port

OPERATOR, STRANGER = 900001, 55


class Stage:
    def __init__(self, servers, vendors, clock, folder):
        self.servers, self.vendors, self.clock, self.folder = servers, vendors, clock, folder
        self.settings = led_to(servers.settings, vendors.url, telegram_operators=(OPERATOR,), timeout_seconds=2.0)
        self.context = context_of(Module.TELEGRAM, servers, self.settings, clock, folder)
        self.heard = 0

    @asynccontextmanager
    async def running(self, settings: Any = None) -> AsyncIterator[TelegramBot]:
        context = self.context
        if settings is not None:
            context = context_of(Module.TELEGRAM, self.servers, settings, self.clock, self.folder)
        async with running_module(TelegramBot(context)) as bot:
            yield bot

    async def say(self, text: str, user: int = STRANGER) -> str:
        """What the bot answers."""
        return await self.answer(user, "say", text=text)

    async def answer(self, user: int, how: str, **what: Any) -> str:
        before = len(self.vendors.told(vendor="telegram"))
        await asyncio.to_thread(self.vendors.post, f"/telegram/sandbox/{how}", user_id=user, **what)
        told = await until(lambda: self.vendors.told(vendor="telegram")[before:])
        assert [one["channel"] for one in told] == [str(user)]
        assert self.settings.distribution.disclaimer in told[0]["text"]
        return told[0]["text"]

    def put(self, module: Module, *values: tuple[Any, Any]) -> None:
        store = self.servers.store(module)
        batch = store.batch()
        for bound, value in values:
            batch.put(bound, value)
        store.commit(batch)
        store.close()

    def tier(self, user: int, tier: str) -> None:
        self.put(Module.PAGES, (k.TELEGRAM_TIER.at(id=user), TelegramTier(tier, None, 0)))

    def asked(self) -> list[ControlRequest]:
        store = self.servers.store(Module.OPERATOR)
        return [entry.event for entry in store.read(Cursor.at_start([k.CONTROL.at(module=Module.TELEGRAM)]))]

    def button(self) -> str:
        line = [one for one in self.vendors.wire(vendor="telegram") if one["path"].endswith("/sendMessage")][-1]
        return line["answer"]["result"]["reply_markup"]["inline_keyboard"][0][0]["callback_data"]


async def until(condition: Callable[[], Any], limit: float = 60.0) -> Any:
    for _ in range(int(limit / 0.03)):
        if value := await asyncio.to_thread(condition):
            return value
        await asyncio.sleep(0.03)
    pytest.fail(f"not within {limit} s")


@pytest.fixture
def stage(servers, tmp_path):
    clock = market_clock()
    with vendors_on(clock, tmp_path / "vendors") as vendors:
        yield Stage(servers, vendors, clock, tmp_path)


def test_everyone_is_greeted_helped_and_led_to_the_pages(stage):
    async def story() -> None:
        async with stage.running():
            assert "options signals" in await stage.say("/start")
            assert "/flatten" not in await stage.say("/help")
            text = await stage.say("/subscribe")
            link = next(word for word in text.split() if "/subscribe?" in word)
            assert link.startswith(stage.settings.web.pages_url)
            key = stage.servers.vault.get("session_key")
            token = parse_qs(urlsplit(link).query)["telegram"][0]
            assert URLSafeTimedSerializer(key, salt="telegram-link").loads(token, max_age=60) == STRANGER

    asyncio.run(story())


def test_status_shows_each_tier_what_it_may_know_and_not_earlier(stage):
    now_ns = stage.clock.market_ns()
    old, new = (a_position(a_signal(n), opened_ns=now_ns - age * NS) for n, age in ((1, 120), (2, 5)))
    stage.put(Module.POSITIONS, *((k.POSITIONS.at(symbol="SPY", id=one.id), one) for one in (old, new)))
    stage.tier(11, "premium")
    stage.tier(12, "basic")

    async def story() -> None:
        async with stage.running():
            premium, basic, free = [await stage.say("/status", user) for user in (11, 12, 13)]
            assert "Your tier: premium" in premium and "Open positions: 2" in premium
            assert "Your tier: basic" in basic and "Open positions: 1, 60 s ago" in basic
            assert "Your tier: free" in free and "positions" not in free.lower()
            assert all("open until 16:00" in text for text in (premium, basic, free))

    asyncio.run(story())


def test_the_operator_halts_flattens_and_resumes_after_a_question(stage):
    stage.put(Module.EMERGENCY, (k.HALT.at(), Halt(True, False, 3, "daily loss limit", "risk", 0, 0)))

    async def story() -> None:
        async with stage.running():
            assert "Halt asked for" in await stage.say("/halt the news is bad", OPERATOR)
            assert "Flatten asked for" in await stage.say("/flatten", OPERATOR)
            assert "halted: daily loss limit" in await stage.say("/status", OPERATOR)
            assert "daily loss limit" in await stage.say("/resume", OPERATOR)
            assert [one.kind for one in stage.asked()] == ["halt", "flatten"]
            button = stage.button()
            assert "Resume asked for" in await stage.answer(OPERATOR, "press", data=button)
            assert "no effect" in await stage.answer(OPERATOR, "press", data=button)

    asyncio.run(story())
    halt, flatten, resume = stage.asked()
    assert (halt.kind, halt.reason) == ("halt", "the news is bad") and str(OPERATOR) in halt.by
    assert (flatten.kind, resume.kind) == ("flatten", "resume")
    assert len({one.id for one in stage.asked()}) == 3


def test_a_flatten_that_is_heard_late_halts_and_closes_nothing(stage, monkeypatch):
    monkeypatch.setattr("alphatrader.streams.telegram.STALE_SECONDS", 0.5)

    async def story():
        # given that the operator spoke while the bot was down, for longer than a flatten is worth obeying
        await asyncio.to_thread(stage.vendors.post, "/telegram/sandbox/say", user_id=OPERATOR, text="/flatten")
        spoken_ns = stage.clock.machine_ns()
        await until(lambda: stage.clock.machine_ns() - spoken_ns > 1.5 * NS)
        before = len(stage.vendors.told(vendor="telegram"))
        async with stage.running():
            [answer] = await until(lambda: stage.vendors.told(vendor="telegram")[before:])
            assert "halted instead" in answer["text"]
            assert [one.kind for one in stage.asked()] == ["halt"]

    asyncio.run(story())


def test_nobody_else_can_ask_for_anything(stage):
    async def story() -> None:
        async with stage.running() as bot:
            for command in ("/halt", "/resume", "/flatten"):
                assert "operator's" in await stage.say(command)
            await stage.say("/resume", OPERATOR)
            assert "operator's" in await stage.answer(STRANGER, "press", data=stage.button())
            assert bot.health._counts["commands refused"] == 4

    asyncio.run(story())
    assert stage.asked() == []


def test_a_question_that_is_too_old_is_not_answered(stage, monkeypatch):
    monkeypatch.setattr("alphatrader.streams.telegram.CONFIRM_SECONDS", 0.0)

    async def story() -> None:
        async with stage.running():
            await stage.say("/resume", OPERATOR)
            assert "no effect" in await stage.answer(OPERATOR, "press", data=stage.button())

    asyncio.run(story())
    assert stage.asked() == []


def test_bad_polls_are_counted_and_what_was_said_meanwhile_is_heard(stage):
    async def story() -> None:
        async with stage.running() as bot:
            await stage.say("/start")
            stage.vendors.fault("telegram", "garbage", match="getUpdates", count=1)
            stage.vendors.fault("telegram", "status", status=500, match="getUpdates", count=1)
            await stage.say("/help", 56)
            await until(lambda: bot.health._counts["polls failed"] >= 1)
            assert "Prices" not in await stage.say("/start", 57)

    asyncio.run(story())


def test_telegram_being_away_is_waited_for(stage, monkeypatch):
    monkeypatch.setattr("alphatrader.streams.telegram._RETRY_SECONDS", 0.2)
    away = replace(stage.settings, vendors=replace(stage.settings.vendors, telegram_url=f"http://127.0.0.1:{free_port()}"))

    async def story() -> None:
        async with stage.running(away) as bot:
            await until(lambda: bot.health._state == "waiting")
            bot.settings = stage.settings
            await until(lambda: bot.health._state == "ready")
            assert "options signals" in await stage.say("/start")

    asyncio.run(story())


def test_a_command_that_meets_a_lost_server_is_said_to_be_lost_and_the_module_recovers(stage):
    async def story() -> None:
        lost = replace(stage.settings.servers.state, port=free_port())
        away = replace(stage.settings, servers=replace(stage.settings.servers, state=lost))
        bot = TelegramBot(context_of(Module.TELEGRAM, stage.servers, away, stage.clock, stage.folder))
        await bot.recover()
        task = asyncio.create_task(bot.run())
        assert "NOT DONE" in await stage.say("/halt", OPERATOR)
        with pytest.raises(StoreLost):
            await asyncio.wait_for(task, 5)
        await bot.store.close()

    asyncio.run(story())


def test_only_private_chats_are_heard(stage):
    async def story() -> None:
        async with stage.running():
            await asyncio.to_thread(stage.vendors.post, "/telegram/sandbox/say", user_id=OPERATOR, chat_id=-77, text="/halt")
            await stage.say("/start")

    asyncio.run(story())
    assert stage.asked() == []
