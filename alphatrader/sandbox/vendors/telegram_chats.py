"""Chats of the Telegram stand-in: who is a member, who was banned, which invite links hold, who blocked the bot.

Positive chat ids are private chats, negative ones channels. Used by `telegram.py` only; kept in the store.
"""

from __future__ import annotations

from typing import Any

from alphatrader.sandbox.vendors.store import Store
from alphatrader.sandbox.vendors.world import VendorWorld

VENDOR = "telegram"
NO_RIGHTS = {
    "can_be_edited": False,
    "is_anonymous": False,
    "can_manage_chat": True,
    "can_delete_messages": True,
    "can_manage_video_chats": False,
    "can_restrict_members": True,
    "can_promote_members": False,
    "can_change_info": False,
    "can_invite_users": True,
    "can_post_stories": False,
    "can_edit_stories": False,
    "can_delete_stories": False,
    "can_post_messages": True,
    "can_edit_messages": True,
}


class Refused(Exception):
    """A call that Telegram answers with an error."""

    def __init__(self, status: int, description: str, seconds: float | None = None) -> None:
        super().__init__(description)
        self.status, self.description, self.seconds = status, description, seconds


def bot_user(world: VendorWorld) -> dict[str, Any]:
    head = world.credentials.telegram_token.split(":", 1)[0]
    return {
        "id": int(head) if head.isdigit() else 1,
        "is_bot": True,
        "first_name": "AlphaTrader sandbox",
        "username": world.credentials.telegram_bot_username,
    }


def user_of(user_id: int, first_name: str = "") -> dict[str, Any]:
    return {"id": user_id, "is_bot": False, "first_name": first_name or f"User {user_id}", "language_code": "en"}


class Chats:
    def __init__(self, world: VendorWorld, store: Store) -> None:
        self._world, self._store = world, store

    def chat(self, chat_id: int | str) -> dict[str, Any]:
        if isinstance(chat_id, int) and chat_id > 0:
            return {"id": chat_id, "type": "private", "first_name": f"User {chat_id}"}
        if isinstance(chat_id, str):  # a public channel by its name
            number = -1_000_000_000_000 - sum(ord(letter) * 131**place for place, letter in enumerate(chat_id)) % 10**9
            return {"id": number, "type": "channel", "title": chat_id, "username": chat_id.lstrip("@")}
        return {"id": chat_id, "type": "channel", "title": f"Channel {chat_id}"}

    def member(self, chat_id: int | str, user_id: int) -> dict[str, Any]:
        bot = bot_user(self._world)
        if user_id == bot["id"]:
            return {"status": "administrator", "user": bot, **NO_RIGHTS}
        status = (self._store.get(VENDOR, "member", f"{chat_id}/{user_id}") or {}).get("status", "left")
        member = {"status": status, "user": user_of(user_id)}
        return {**member, "until_date": 0} if status == "kicked" else member

    def members(self) -> list[dict[str, Any]]:
        return self._store.all(VENDOR, "member")

    def ban(self, chat_id: int | str, user_id: int) -> bool:
        return self._set(chat_id, user_id, "kicked")

    def unban(self, chat_id: int | str, user_id: int, *, only_if_banned: bool) -> bool:
        """As Telegram: a member who is not banned is removed, unless only_if_banned."""
        if only_if_banned and self.member(chat_id, user_id)["status"] != "kicked":
            return True
        return self._set(chat_id, user_id, "left")

    def create_link(self, chat_id: int | str, fields: dict[str, Any]) -> dict[str, Any]:
        if isinstance(chat_id, int) and chat_id > 0:
            raise Refused(400, "Bad Request: can't create an invite link for a private chat")
        number = self._store.count(VENDOR, "link")
        link: dict[str, Any] = {
            "invite_link": f"https://t.me/+sandbox{number:010d}",
            "creator": bot_user(self._world),
            "creates_join_request": bool(fields.get("creates_join_request")),
            "is_primary": False,
            "is_revoked": False,
        }
        link.update({name: fields[name] for name in ("name", "expire_date", "member_limit") if fields.get(name)})
        self._store.put(VENDOR, "link", link["invite_link"], {"chat_id": chat_id, "used": 0, "link": link})
        return link

    def revoke_link(self, chat_id: int | str, invite_link: str) -> dict[str, Any]:
        held = self._store.get(VENDOR, "link", invite_link)
        if held is None or held["chat_id"] != chat_id:
            raise Refused(400, "Bad Request: INVITE_HASH_EXPIRED")
        held["link"]["is_revoked"] = True
        self._store.put(VENDOR, "link", invite_link, held)
        return held["link"]

    def join(self, user_id: int, invite_link: str) -> dict[str, Any]:
        """Follow a link; the ChatMemberUpdated that the bot is told."""
        with self._store.transaction():
            held = self._store.get(VENDOR, "link", invite_link)
            if held is None or held["link"]["is_revoked"]:
                raise Refused(400, "Bad Request: the invite link does not hold")
            link, chat_id = held["link"], held["chat_id"]
            if link.get("expire_date") and self._world.machine_s() >= link["expire_date"]:
                raise Refused(400, "Bad Request: the invite link has expired")
            if link.get("member_limit") and held["used"] >= link["member_limit"]:
                raise Refused(400, "Bad Request: the invite link has reached its limit of members")
            before = self.member(chat_id, user_id)
            if before["status"] == "kicked":
                raise Refused(403, "Forbidden: the user is banned from the chat")
            held["used"] += 1
            self._store.put(VENDOR, "link", invite_link, held)
            self._set(chat_id, user_id, "member")
        return {
            "chat": self.chat(chat_id),
            "from": user_of(user_id),
            "date": int(self._world.machine_s()),
            "old_chat_member": before,
            "new_chat_member": self.member(chat_id, user_id),
            "invite_link": link,
        }

    def block(self, user_id: int, *, blocked: bool) -> None:
        self._store.put(VENDOR, "block", str(user_id), {"blocked": blocked})

    def refuse_if_blocked(self, chat_id: int | str) -> None:
        if (self._store.get(VENDOR, "block", str(chat_id)) or {}).get("blocked"):
            raise Refused(403, "Forbidden: bot was blocked by the user")

    def _set(self, chat_id: int | str, user_id: int, status: str) -> bool:
        self._store.put(VENDOR, "member", f"{chat_id}/{user_id}", {"chat_id": chat_id, "user_id": user_id, "status": status})
        return True
