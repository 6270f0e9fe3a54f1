"""The Telegram Bot API stand-in at /telegram/bot<token>/METHOD, and a way to speak as a user.

What it does as Telegram does: long polling that a second poller ends for the first (409), webhooks with a secret token,
invite links with a limit of members, members who are banned and let in again, 30 messages a second, 4096 characters.
Every integer chat id is taken to have started the bot; a user who blocked it answers 403. Updates, members, links and
blocks outlive a restart.

Of the sandbox only, to speak as a user (JSON bodies):

    POST /telegram/sandbox/say    {user_id, text, chat_id?, first_name?}    a message; "/..." becomes a command
    POST /telegram/sandbox/press  {user_id, data, chat_id?}                 a button of an inline keyboard
    POST /telegram/sandbox/join   {user_id, invite_link}                    follow an invite link
    POST /telegram/sandbox/block  {user_id, blocked?}                       block the bot (blocked false: let it speak again)
    GET  /telegram/sandbox/state                                            members by chat, commands, waiting updates
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import requests
from flask import Blueprint, Response, g, request

from alphatrader.sandbox.vendors.exchange import answer, tell
from alphatrader.sandbox.vendors.rates import SlidingWindow
from alphatrader.sandbox.vendors.store import Store
from alphatrader.sandbox.vendors.telegram_chats import Chats, Refused, bot_user, user_of
from alphatrader.sandbox.vendors.wirelog import LONG_ANSWER_BYTES, WireLog, decoded
from alphatrader.sandbox.vendors.world import VendorWorld

MESSAGES_PER_SECOND = 30
MOST_TEXT = 4096
LONGEST_POLL_SECONDS = 50.0
KEPT_UPDATES = 1000


class Telegram:
    name = "telegram"

    def __init__(self, world: VendorWorld, store: Store, wire: WireLog) -> None:
        self._world, self._store, self._wire = world, store, wire
        self._limit = SlidingWindow(MESSAGES_PER_SECOND, 1.0, world.machine_s)
        self._chats = Chats(world, store)
        self._arrived = threading.Condition()
        self._poll = 0  # number of the newest poll: an older one that still waits gives way
        self._methods: dict[str, Callable[[dict[str, Any]], Any]] = {
            "getme": self._get_me,
            "getupdates": self._get_updates,
            "setwebhook": self._set_webhook,
            "deletewebhook": self._delete_webhook,
            "getwebhookinfo": self._webhook_info,
            "sendmessage": self._send_message,
            "editmessagetext": self._edit_message,
            "deletemessage": lambda fields: True,
            "answercallbackquery": lambda fields: bool(_field(fields, "callback_query_id", str)),
            "setmycommands": self._set_commands,
            "getmycommands": lambda fields: self._setting("commands").get("commands", []),
            "deletemycommands": lambda fields: self._keep("commands", {"commands": []}),
            "getchat": lambda fields: {**self._chats.chat(_chat_id(fields)), "accent_color_id": 0, "max_reaction_count": 11},
            "getchatmember": lambda fields: self._chats.member(_chat_id(fields), _field(fields, "user_id", int)),
            "banchatmember": lambda fields: self._chats.ban(_chat_id(fields), _field(fields, "user_id", int)),
            "unbanchatmember": lambda fields: self._chats.unban(
                _chat_id(fields), _field(fields, "user_id", int), only_if_banned=bool(fields.get("only_if_banned"))
            ),
            "createchatinvitelink": lambda fields: self._chats.create_link(_chat_id(fields), fields),
            "revokechatinvitelink": lambda fields: self._chats.revoke_link(_chat_id(fields), _field(fields, "invite_link", str)),
            "logout": lambda fields: True,
            "close": lambda fields: True,
        }

    def blueprint(self) -> Blueprint:
        routes = Blueprint(self.name, __name__)
        routes.add_url_rule("/bot<token>/<method>", view_func=self.call, methods=["GET", "POST"])
        for name, said in (("say", self._say), ("press", self._press), ("join", self._join), ("block", self._block)):
            routes.add_url_rule(f"/sandbox/{name}", name, self._as_user(said), methods=["POST"])
        routes.add_url_rule("/sandbox/state", view_func=self.state)
        return routes

    def error(self, status: int, seconds: float) -> Response:
        return _refusal(status, seconds=seconds if status == 429 else None)

    def call(self, token: str, method: str) -> Response:
        if token != self._world.credentials.telegram_token:
            return _refusal(401, "Unauthorized")
        act = self._methods.get(method.lower())
        if act is None:
            return _refusal(404, "Not Found: method not found")
        try:
            return answer({"ok": True, "result": act(_fields())})
        except Refused as refused:
            g.accepted = False
            return _refusal(refused.status, refused.description, refused.seconds)

    # -- the bot reads ------------------------------------------------------------------------------------------------

    def _get_me(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {
            **bot_user(self._world),
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
            "can_connect_to_business": False,
            "has_main_web_app": False,
        }

    def _get_updates(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        if self._setting("webhook").get("url"):
            raise Refused(
                409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete it first"
            )
        offset, limit = int(fields.get("offset") or 0), min(max(int(fields.get("limit") or 100), 1), 100)
        left = min(float(fields.get("timeout") or 0), LONGEST_POLL_SECONDS)
        with self._arrived:
            self._poll += 1
            mine = self._poll
            self._arrived.notify_all()  # an older poll sees that it is no longer the newest
            self._forget_before(offset)
            while True:
                updates = self._store.all(self.name, "update")
                if offset < 0:
                    updates = updates[offset:]
                if updates or left <= 0 or self._world.stopping.is_set():
                    return updates[:limit]
                self._arrived.wait(min(left, 0.5))  # half seconds, to see that the server stops
                left -= 0.5
                if self._poll != mine:
                    raise Refused(
                        409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
                    )

    def _forget_before(self, offset: int) -> None:
        for update in self._store.all(self.name, "update"):
            if update["update_id"] < offset:
                self._store.delete(self.name, "update", str(update["update_id"]))

    def _set_webhook(self, fields: dict[str, Any]) -> bool:
        held = {"url": str(fields.get("url") or ""), "secret_token": str(fields.get("secret_token") or "")}
        if fields.get("drop_pending_updates"):
            self._forget_before(2**62)
        return self._keep("webhook", held)

    def _delete_webhook(self, fields: dict[str, Any]) -> bool:
        if fields.get("drop_pending_updates"):
            self._forget_before(2**62)
        return self._keep("webhook", {"url": "", "secret_token": ""})

    def _webhook_info(self, fields: dict[str, Any]) -> dict[str, Any]:
        waiting = len(self._store.all(self.name, "update"))
        return {"url": self._setting("webhook").get("url", ""), "has_custom_certificate": False, "pending_update_count": waiting}

    def _set_commands(self, fields: dict[str, Any]) -> bool:
        commands = fields.get("commands")
        if not isinstance(commands, list):
            raise Refused(400, "Bad Request: parameter commands must be a list")
        return self._keep("commands", {"commands": commands})

    # -- the bot speaks -----------------------------------------------------------------------------------------------

    def _send_message(self, fields: dict[str, Any]) -> dict[str, Any]:
        chat_id, text = _chat_id(fields), _text(fields)
        self._chats.refuse_if_blocked(chat_id)
        wait = self._limit.admit()
        if wait is not None:
            raise Refused(429, "Too Many Requests", max(1, round(wait)))
        message = {
            "message_id": self._store.count(self.name, f"message:{chat_id}"),
            "from": bot_user(self._world),
            "chat": self._chats.chat(chat_id),
            "date": int(self._world.machine_s()),
            "text": text,
        }
        if isinstance(fields.get("reply_markup"), dict) and "inline_keyboard" in fields["reply_markup"]:
            message["reply_markup"] = fields["reply_markup"]
        tell(str(chat_id), "", text)
        return message

    def _edit_message(self, fields: dict[str, Any]) -> dict[str, Any]:
        chat_id, text = _chat_id(fields), _text(fields)
        now = int(self._world.machine_s())
        tell(str(chat_id), "edited", text)
        return {
            "message_id": _field(fields, "message_id", int),
            "from": bot_user(self._world),
            "chat": self._chats.chat(chat_id),
            "date": now,
            "edit_date": now,
            "text": text,
        }

    # -- a user speaks ------------------------------------------------------------------------------------------------

    def _as_user(self, said: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[], Response]:
        def view() -> Response:
            try:
                return answer({"ok": True, **said(_fields())})
            except Refused as refused:
                return _refusal(refused.status, refused.description)

        return view

    def _say(self, fields: dict[str, Any]) -> dict[str, Any]:
        text = _field(fields, "text", str)
        message = self._message_of_user(fields, text)
        if text.startswith("/"):
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text.split()[0])}]
        return self._enqueue({"message": message})

    def _press(self, fields: dict[str, Any]) -> dict[str, Any]:
        user_id = _field(fields, "user_id", int)
        chat = self._chats.chat(int(fields.get("chat_id") or user_id))
        message = {
            "message_id": 1,
            "from": bot_user(self._world),
            "chat": chat,
            "date": int(self._world.machine_s()),
            "text": "-",
        }
        query = {
            "id": str(self._store.count(self.name, "callback")),
            "from": user_of(user_id, str(fields.get("first_name") or "")),
            "message": message,
            "chat_instance": str(chat["id"]),
            "data": _field(fields, "data", str),
        }
        return self._enqueue({"callback_query": query})

    def _join(self, fields: dict[str, Any]) -> dict[str, Any]:
        return self._enqueue(
            {"chat_member": self._chats.join(_field(fields, "user_id", int), _field(fields, "invite_link", str))}
        )

    def _block(self, fields: dict[str, Any]) -> dict[str, Any]:
        self._chats.block(_field(fields, "user_id", int), blocked=bool(fields.get("blocked", True)))
        return {}

    def _message_of_user(self, fields: dict[str, Any], text: str) -> dict[str, Any]:
        user_id = _field(fields, "user_id", int)
        chat_id = int(fields.get("chat_id") or user_id)
        return {
            "message_id": self._store.count(self.name, f"message:{chat_id}"),
            "from": user_of(user_id, str(fields.get("first_name") or "")),
            "chat": self._chats.chat(chat_id),
            "date": int(self._world.machine_s()),
            "text": text,
        }

    def _enqueue(self, update: dict[str, Any]) -> dict[str, Any]:
        with self._arrived:
            update_id = self._store.count(self.name, "update", 1000)
            update = {"update_id": update_id, **update}
            hook = self._setting("webhook")
            if not hook.get("url"):
                self._store.put(self.name, "update", str(update_id), update)
                self._store.trim(self.name, "update", KEPT_UPDATES)
                self._arrived.notify_all()
                return {"update_id": update_id}
        return {"update_id": update_id, "webhook_status": self._push(hook, update)}

    def _push(self, hook: dict[str, Any], update: dict[str, Any]) -> int | None:
        """One delivery to the bot's webhook; None when nobody answered. Tests speak again rather than wait for retries."""
        headers = {"X-Telegram-Bot-Api-Secret-Token": hook["secret_token"]} if hook["secret_token"] else {}
        sent = (self._world.machine_ns(), self._world.now_ns())
        status, body = None, b""
        try:
            with requests.Session() as session:
                session.trust_env = False
                reply = session.post(hook["url"], json=update, headers=headers, timeout=5, allow_redirects=False)
            status, body = reply.status_code, reply.content
        except requests.RequestException:
            pass  # logged below as an exchange without a status
        self._wire.write(
            {
                "vendor": self.name,
                "direction": "out",
                "method": "POST",
                "path": hook["url"],
                "query": {},
                "request": update,
                "status": status,
                "answer": decoded(body, LONG_ANSWER_BYTES),
                "fault": None,
                "accepted": status is not None and status < 300,
                "received_machine_ns": sent[0],
                "answered_machine_ns": self._world.machine_ns(),
                "received_market_ns": sent[1],
                "answered_market_ns": self._world.now_ns(),
                "told": None,
            }
        )
        return status

    def state(self) -> Response:
        return answer(
            {
                "members": self._chats.members(),
                "commands": self._setting("commands").get("commands", []),
                "updates": self._store.all(self.name, "update"),
                "webhook": self._setting("webhook").get("url", ""),
            }
        )

    def _setting(self, name: str) -> dict[str, Any]:
        return self._store.get(self.name, "setting", name) or {}

    def _keep(self, name: str, value: dict[str, Any]) -> bool:
        self._store.put(self.name, "setting", name, value)
        return True


def _fields() -> dict[str, Any]:
    """The parameters of a call, from the query, a form or a JSON body; values that are JSON are decoded, as Telegram does."""
    body = request.get_json(silent=True) if request.is_json else None
    fields: dict[str, Any] = dict(body) if isinstance(body, dict) else {**request.args.to_dict(), **request.form.to_dict()}
    for name, value in fields.items():
        if isinstance(value, str) and name not in ("text", "data", "first_name", "name"):
            with contextlib.suppress(msgspec.DecodeError):  # a plain string stays one
                fields[name] = msgspec.json.decode(value)
    return fields


def _field(fields: dict[str, Any], name: str, kind: type) -> Any:
    value = fields.get(name)
    if kind is str and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, kind) or value == "":
        raise Refused(400, f"Bad Request: parameter {name} must be a {'number' if kind is int else 'string'} that is not empty")
    return value


def _chat_id(fields: dict[str, Any]) -> int | str:
    value = fields.get("chat_id")
    if isinstance(value, str) and value.startswith("@"):
        return value
    if not isinstance(value, int) or value == 0:
        raise Refused(400, "Bad Request: chat not found")
    return value


def _text(fields: dict[str, Any]) -> str:
    text = fields.get("text")
    if not isinstance(text, str) or not text.strip():
        raise Refused(400, "Bad Request: message text is empty")
    if len(text) > MOST_TEXT:
        raise Refused(400, "Bad Request: message is too long")
    return text


def _refusal(status: int, description: str = "", seconds: float | None = None) -> Response:
    wait = None if seconds is None else max(1, round(seconds))
    named = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests"}
    text = description or named.get(status, "Internal Server Error" if status >= 500 else "Bad Request")
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": text}
    if wait is not None:
        body["description"] = f"Too Many Requests: retry after {wait}"
        body["parameters"] = {"retry_after": wait}
        return answer(body, status, {"Retry-After": str(wait)})
    return answer(body, status)
