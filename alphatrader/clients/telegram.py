"""Telegram through python-telegram-bot: `TelegramSender` for the delivery tasks, `TelegramPoller` for the bot's stream.

The token is part of every address: errors here carry class names and the vendor's status, never a URL.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.error import BadRequest, ChatMigrated, Conflict, Forbidden, InvalidToken, NetworkError, RetryAfter, TelegramError
from telegram.ext import Application, CallbackQueryHandler, CommandHandler, ContextTypes, filters
from telegram.request import HTTPXRequest

from alphatrader.clients.sending import LimitedError, LostAnswerError, RefusedError, SendError, UnreachableError, breaker
from alphatrader.contract.settings.people import Vendors

_UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_POLL_SECONDS: Final = 10
_STOP_SECONDS: Final = 1.5


# -- sending ---------------------------------------------------------------------------------------------------------------


class _NotAvailableError(TelegramError):
    """503: the one server error that means that nothing was done. The library's own error does not tell it from the others."""


class _SendRequest(HTTPXRequest):
    async def do_request(self, *args: Any, **more: Any) -> tuple[int, bytes]:
        status, body = await super().do_request(*args, **more)
        if status == 503:
            raise _NotAvailableError("503")
        return status, body


def failure(error: TelegramError) -> SendError:
    """What an error of the library says of a message that was being sent."""
    match error:
        case RetryAfter():
            wait = error._retry_after.total_seconds()  # the public property changes its type with an environment variable
            return LimitedError("429 too many requests", wait)
        case Forbidden() | BadRequest() | ChatMigrated() | Conflict():
            return RefusedError(f"{type(error).__name__}: {error.message}")
        case InvalidToken():
            return RefusedError("InvalidToken")  # its text holds the token
        case NetworkError() if isinstance(error.__cause__, _UNSENT):
            return UnreachableError(type(error.__cause__).__name__)
        case _NotAvailableError():
            return LimitedError("503 not available")
        case _:
            return LostAnswerError(type(error.__cause__ or error).__name__)


class TelegramSender:
    """Sends texts from any thread. Its event loop has a thread of its own, begun by the first message."""

    def __init__(self, vendors: Vendors, token: str, machine_ns: Callable[[], int]) -> None:
        self._vendors = vendors
        self._token = token
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bot: Bot | None = None
        self.breaker = breaker(vendors, machine_ns)

    def send(self, chat_id: int | str, text: str) -> str:
        """The message's id. Raises one of the four SendErrors."""
        return self.breaker.call(lambda: self._send(chat_id, text))

    def _send(self, chat_id: int | str, text: str) -> str:
        loop, bot = self._running()
        sending = asyncio.run_coroutine_threadsafe(bot.send_message(chat_id=chat_id, text=text), loop)
        try:
            message = sending.result(self._vendors.timeout_seconds * 3)
        except TelegramError as error:
            raise failure(error) from None
        except TimeoutError:
            sending.cancel()
            raise LostAnswerError("no answer in time") from None
        except (KeyError, TypeError, AttributeError, ValueError):
            raise LostAnswerError("an answer that is no message") from None
        return str(message.message_id)

    def _running(self) -> tuple[asyncio.AbstractEventLoop, Bot]:
        with self._starting:
            if self._loop is None or self._bot is None:
                wait = self._vendors.timeout_seconds
                request = _SendRequest(
                    connection_pool_size=8, read_timeout=wait, write_timeout=wait, connect_timeout=wait, pool_timeout=wait
                )
                self._bot = Bot(self._token, base_url=f"{self._vendors.telegram_url.rstrip('/')}/bot", request=request)
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="telegram", daemon=True).start()
            return self._loop, self._bot


# -- polling ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """What a user said to the bot in a private chat: a command with its words, or a button's data."""

    update_id: int
    user_id: int
    words: tuple[str, ...]
    said_s: float | None = None
    """Unix seconds of a command: Telegram keeps what was said while nobody listened, for a day. None for a button."""


@dataclass(frozen=True, slots=True)
class Reply:
    text: str
    buttons: tuple[tuple[str, str], ...] = ()
    """Label, data."""


Handler = Callable[[Said], Awaitable[Reply]]
Heard = Callable[[Update, ContextTypes.DEFAULT_TYPE], Coroutine[Any, Any, None]]


def checked_updates(body: bytes, refuse: Callable[[str], None]) -> bytes:
    """An answer of getUpdates in which each update that the library cannot read is emptied, so that it is passed over.

    The library would drop the whole answer and ask for the same again at once, for ever.
    """
    try:
        answer = json.loads(body)
        updates = answer["result"]
        whole = [_checked(update, refuse) for update in updates]
    except (ValueError, KeyError, TypeError):
        return body  # the library says what is wrong with it
    return json.dumps({**answer, "result": [update for update in whole if update is not None]}).encode()


def _checked(update: Any, refuse: Callable[[str], None]) -> Any:
    number = update.get("update_id") if isinstance(update, dict) else None
    if not isinstance(number, int):
        refuse("update_id: not a number")
        return None
    try:
        Update.de_json(update, None)
    except Exception as error:  # noqa: BLE001 the library's parser raises whatever a malformed update provokes
        refuse(f"update {number}: {type(error).__name__}: {error}")
        return {"update_id": number}
    return update


class _PollRequest(HTTPXRequest):
    """The requests of polling; answers pass the check above."""

    def __init__(self, refuse: Callable[[str], None], **more: Any) -> None:
        super().__init__(**more)
        self._refuse = refuse

    async def do_request(self, url: str, *args: Any, **more: Any) -> tuple[int, bytes]:
        status, body = await super().do_request(url, *args, **more)
        return (status, checked_updates(body, self._refuse)) if status == 200 and url.endswith("/getUpdates") else (status, body)


class TelegramPoller:
    """The bot's ear: polls, hands commands of private chats to their handlers and sends what they reply."""

    def __init__(
        self,
        vendors: Vendors,
        token: str,
        commands: Mapping[str, tuple[str, Handler]],
        pressed: Handler,
        *,
        refused: Callable[[str], None],
        troubled: Callable[[str], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """`commands`: name -> what it does, handler. `refused` hears of bad updates, `troubled` of polls that failed, `failed` of
        errors of handlers and of replies that could not be sent."""
        base = vendors.telegram_url.rstrip("/")
        wait = vendors.timeout_seconds
        self._troubled, self._failed = troubled, failed
        self._commands = commands
        self._app: Application[Any, Any, Any, Any, Any, Any] = (
            Application.builder()
            .token(token)
            .base_url(f"{base}/bot")
            .base_file_url(f"{base}/file/bot")
            .request(HTTPXRequest(connection_pool_size=8, read_timeout=wait, connect_timeout=wait))
            .get_updates_request(_PollRequest(refused, read_timeout=wait, connect_timeout=wait))
            .build()
        )
        private = filters.ChatType.PRIVATE & ~filters.UpdateType.EDITED
        for name, (_, handler) in commands.items():
            self._app.add_handler(CommandHandler(name, self._on_command(handler), filters=private))
        self._app.add_handler(CallbackQueryHandler(self._on_button(pressed)))
        self._app.add_error_handler(self._on_error)

    async def start(self) -> None:
        """Begins to poll. Raises SendError where Telegram is not there or refuses the token."""
        try:
            await self._app.initialize()
            await self._app.bot.set_my_commands([(name, about) for name, (about, _) in self._commands.items() if about])
            await self._app.start()
            if self._app.updater is not None:
                await self._app.updater.start_polling(
                    timeout=_POLL_SECONDS,
                    allowed_updates=[Update.MESSAGE, Update.CALLBACK_QUERY],
                    error_callback=lambda error: self._troubled(type(error).__name__),
                )
        except TelegramError as error:
            raise failure(error) from None

    async def stop(self) -> None:
        """Leaves within 1.5 s, whatever Telegram does."""
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                if self._app.updater is not None and self._app.updater.running:
                    await self._app.updater.stop()
                if self._app.running:
                    await self._app.stop()
                await self._app.shutdown()
        except (TimeoutError, TelegramError) as error:
            self._troubled(f"while leaving: {type(error).__name__}")

    def _on_command(self, handler: Handler) -> Heard:
        async def hear(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
            if update.effective_user is None or update.effective_chat is None:
                return
            said_s = update.effective_message.date.timestamp() if update.effective_message is not None else None
            said = Said(update.update_id, update.effective_user.id, tuple(context.args or ()), said_s)
            await self._answer(update.effective_chat.id, await handler(said))

        return hear

    def _on_button(self, handler: Handler) -> Heard:
        async def hear(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
            query = update.callback_query
            if query is None or update.effective_chat is None:
                return
            await query.answer()
            said = Said(update.update_id, query.from_user.id, ((query.data or ""),))
            await self._answer(update.effective_chat.id, await handler(said))

        return hear

    async def _answer(self, chat_id: int, reply: Reply) -> None:
        rows = [[InlineKeyboardButton(label, callback_data=data)] for label, data in reply.buttons]
        await self._app.bot.send_message(chat_id, reply.text, reply_markup=InlineKeyboardMarkup(rows) if rows else None)

    async def _on_error(self, _update: object, context: ContextTypes.DEFAULT_TYPE) -> None:
        error = context.error
        if isinstance(error, TelegramError):
            error = failure(error)
        if error is not None:
            self._failed(error)
