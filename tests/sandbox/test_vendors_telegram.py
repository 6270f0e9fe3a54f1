"""The Telegram stand-in through python-telegram-bot: polling, webhooks, messages, channels and their members."""

from __future__ import annotations

import asyncio
import json

import pytest
import requests
from telegram import Bot, BotCommand, InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.error import BadRequest, Conflict, Forbidden, InvalidToken, RetryAfter
from telegram.ext import Application, CommandHandler

from tests.support.specs import TelegramTypes
from tests.support.vendors import Running, running_receiver, running_vendors

CHANNEL = -1001234567890
USER = 777


def bot_of(vendors: Running, token: str = "") -> Bot:
    return Bot(token or vendors.credentials.telegram_token, base_url=f"{vendors.url}/telegram/bot")


def tell(vendors: Running, story):
    """Run a story with a connected bot."""

    async def run():
        async with bot_of(vendors) as bot:
            return await asyncio.wait_for(story(bot), 10)

    return asyncio.run(run())


def test_an_application_answers_a_users_command(vendors):
    async def story():
        builder = Application.builder().token(vendors.credentials.telegram_token).base_url(f"{vendors.url}/telegram/bot")
        application = builder.build()
        handled = asyncio.Event()

        async def start(update: Update, context) -> None:
            await update.message.reply_text(f"Welcome, {update.effective_user.id}")
            handled.set()

        application.add_handler(CommandHandler("start", start))
        async with application:
            await application.start()
            await application.updater.start_polling(timeout=2, poll_interval=0)
            vendors.post("/telegram/sandbox/say", user_id=USER, text="/start")
            await asyncio.wait_for(handled.wait(), 5)
            await application.updater.stop()
            await application.stop()

    asyncio.run(asyncio.wait_for(story(), 15))

    assert [(item["channel"], item["text"]) for item in vendors.told(vendor="telegram")] == [(str(USER), f"Welcome, {USER}")]


def test_an_update_waits_until_its_offset_is_passed_even_across_a_restart(tmp_path):
    async def first(bot):
        return [update.update_id for update in await bot.get_updates(timeout=0)]

    with running_vendors(tmp_path) as vendors:
        vendors.post("/telegram/sandbox/say", user_id=USER, text="one")
        vendors.post("/telegram/sandbox/say", user_id=USER, text="two")
        assert len(tell(vendors, first)) == 2
    with running_vendors(tmp_path) as vendors:
        _, two = tell(vendors, first)

        async def confirm(bot):
            return [update.message.text for update in await bot.get_updates(offset=two, timeout=0)]

        assert tell(vendors, confirm) == ["two"]
        assert tell(vendors, first) == [two]


def test_a_long_poll_returns_as_soon_as_somebody_speaks(vendors):
    async def story(bot):
        polling = asyncio.create_task(bot.get_updates(timeout=8, read_timeout=10))
        await asyncio.to_thread(vendors.post, "/telegram/sandbox/press", user_id=USER, data="tier:premium")
        updates = await asyncio.wait_for(polling, 3)  # whether the poll or the press came first
        assert updates[0].callback_query.data == "tier:premium"
        assert await bot.answer_callback_query(updates[0].callback_query.id)

    tell(vendors, story)


def test_a_second_poller_ends_the_first(vendors):
    async def story(bot):
        first = asyncio.create_task(bot.get_updates(timeout=8, read_timeout=10))
        async with bot_of(vendors) as other:
            while not first.done():  # until the first has arrived there is nothing to end
                await other.get_updates(timeout=0)
        with pytest.raises(Conflict, match="terminated by other getUpdates"):
            await first

    tell(vendors, story)


def test_a_webhook_gets_updates_with_its_secret_and_polling_conflicts(vendors):
    with running_receiver() as receiver:

        async def story(bot):
            await bot.set_webhook(receiver.url, secret_token="hook-secret")
            assert (await bot.get_webhook_info()).url == receiver.url
            said = await asyncio.to_thread(vendors.post, "/telegram/sandbox/say", user_id=USER, text="/help")
            assert said["webhook_status"] == 200
            with pytest.raises(Conflict, match="webhook is active"):
                await bot.get_updates(timeout=0)
            await bot.delete_webhook()
            assert await bot.get_updates(timeout=0) == ()

        tell(vendors, story)
    headers, body = receiver.posts[0]
    assert headers["X-Telegram-Bot-Api-Secret-Token"] == "hook-secret"
    assert json.loads(body)["message"]["entities"] == [{"type": "bot_command", "offset": 0, "length": 5}]
    assert "hook-secret" not in (vendors.data_dir / "vendors.jsonl").read_text()


def test_messages_commands_and_their_limits(vendors):
    async def story(bot):
        keyboard = InlineKeyboardMarkup([[InlineKeyboardButton("Subscribe", url="https://example.com")]])
        sent = await bot.send_message(CHANNEL, "*Long* SPY", parse_mode="Markdown", reply_markup=keyboard)
        assert sent.chat.id == CHANNEL and sent.reply_markup is not None
        edited = await bot.edit_message_text("closed", chat_id=CHANNEL, message_id=sent.message_id)
        assert edited.text == "closed" and edited.message_id == sent.message_id
        assert await bot.set_my_commands([BotCommand("start", "Begin"), BotCommand("help", "Help")])
        assert [command.command for command in await bot.get_my_commands()] == ["start", "help"]
        with pytest.raises(BadRequest, match="too long"):
            await bot.send_message(CHANNEL, "x" * 4097)
        with pytest.raises(BadRequest, match="empty"):
            await bot.send_message(CHANNEL, " ")

    tell(vendors, story)
    assert [item["text"] for item in vendors.told()] == ["*Long* SPY", "closed"]


def test_a_number_in_a_text_stays_text(vendors):
    async def story(bot):
        assert (await bot.send_message(CHANNEL, "123")).text == "123"

    tell(vendors, story)


def test_membership_of_a_channel_by_invite_link(tmp_path):
    async def invite(bot):
        link = await bot.create_chat_invite_link(CHANNEL, member_limit=1, name="for one")
        return link.invite_link

    async def status(bot):
        return (await bot.get_chat_member(CHANNEL, USER)).status

    with running_vendors(tmp_path) as vendors:
        link = tell(vendors, invite)
        assert tell(vendors, status) == "left"
        vendors.post("/telegram/sandbox/join", user_id=USER, invite_link=link)
        assert tell(vendors, status) == "member"
        used = requests.post(f"{vendors.url}/telegram/sandbox/join", json={"user_id": 778, "invite_link": link}, timeout=5)
        assert used.status_code == 400 and "limit of members" in used.json()["description"]
    with running_vendors(tmp_path) as vendors:
        assert tell(vendors, status) == "member"
        assert tell(vendors, lambda bot: bot.ban_chat_member(CHANNEL, USER))
        assert tell(vendors, status) == "kicked"
        fresh = tell(vendors, invite)
        refused = requests.post(f"{vendors.url}/telegram/sandbox/join", json={"user_id": USER, "invite_link": fresh}, timeout=5)
        assert refused.status_code == 403
        assert tell(vendors, lambda bot: bot.unban_chat_member(CHANNEL, USER, only_if_banned=True))
        assert tell(vendors, status) == "left"


def test_a_link_that_expired_or_was_revoked_lets_nobody_in(vendors):
    async def story(bot):
        expiring = await bot.create_chat_invite_link(CHANNEL, expire_date=int(vendors.clock.machine_s()) + 60)
        revoked = await bot.create_chat_invite_link(CHANNEL)
        assert (await bot.revoke_chat_invite_link(CHANNEL, revoked.invite_link)).is_revoked
        return expiring.invite_link, revoked.invite_link

    expiring, revoked = tell(vendors, story)
    vendors.clock.advance(61)
    for link in (expiring, revoked):
        reply = requests.post(f"{vendors.url}/telegram/sandbox/join", json={"user_id": USER, "invite_link": link}, timeout=5)
        assert reply.status_code == 400


def test_refusals_reach_the_client_as_its_own_errors(vendors):
    vendors.post("/telegram/sandbox/block", user_id=USER)

    async def story(bot):
        with pytest.raises(Forbidden, match="blocked by the user"):
            await bot.send_message(USER, "hello")
        vendors.fault("telegram", "status", status=429, seconds=3, match="sendMessage")
        with pytest.raises(RetryAfter) as limited:
            await bot.send_message(CHANNEL, "hello")
        assert limited.value.retry_after == 3

    tell(vendors, story)
    assert vendors.told() == []

    async def wrong():
        async with bot_of(vendors, "4242:wrong"):
            pass

    with pytest.raises(InvalidToken):
        asyncio.run(wrong())


def test_thirty_messages_a_second(vendors):
    address = f"{vendors.url}/telegram/bot{vendors.credentials.telegram_token}/sendMessage"
    replies = [requests.post(address, json={"chat_id": USER, "text": str(n)}, timeout=5) for n in range(31)]

    assert [reply.status_code for reply in replies] == [200] * 30 + [429]
    assert replies[-1].json()["parameters"]["retry_after"] == 1
    vendors.clock.advance(1)
    assert requests.post(address, json={"chat_id": USER, "text": "x"}, timeout=5).status_code == 200


def test_requests_and_answers_fit_the_specification(vendors):
    api = TelegramTypes()
    link = {}

    async def story(bot):
        await bot.send_message(CHANNEL, "hello")
        sent = await bot.send_message(USER, "hello", disable_notification=True)
        await bot.edit_message_text("bye", chat_id=USER, message_id=sent.message_id)
        await bot.get_chat_member(CHANNEL, bot.id)
        await bot.ban_chat_member(CHANNEL, USER)
        await bot.get_chat_member(CHANNEL, USER)
        await bot.unban_chat_member(CHANNEL, USER)
        link["url"] = (await bot.create_chat_invite_link(CHANNEL, name="x", member_limit=1)).invite_link
        await asyncio.to_thread(vendors.post, "/telegram/sandbox/join", user_id=USER, invite_link=link["url"])
        await asyncio.to_thread(vendors.post, "/telegram/sandbox/say", user_id=USER, text="/status")
        await asyncio.to_thread(vendors.post, "/telegram/sandbox/press", user_id=USER, data="a")
        assert len(await bot.get_updates(timeout=0)) == 3
        await bot.get_webhook_info()
        await bot.set_my_commands([BotCommand("start", "Begin")])

    tell(vendors, story)
    checked = set()
    for line in vendors.wire(vendor="telegram", direction="in", status=200):
        method = line["path"].rsplit("/", 1)[-1]
        api.check_request(method, line["request"] or {})
        api.check_result(method, line["answer"]["result"])
        checked.add(method)
    assert {"getMe", "sendMessage", "getUpdates", "getChatMember", "createChatInviteLink", "getWebhookInfo"} <= checked


def test_tokens_stay_out_of_the_wire_log(vendors):
    tell(vendors, lambda bot: bot.send_message(USER, "hello"))
    requests.get(f"{vendors.url}/telegram/bot99:guessed/getMe", timeout=5)

    text = (vendors.data_dir / "vendors.jsonl").read_text()
    assert "telegram-token-secret" not in text and "99:guessed" not in text
