"""The Discord stand-in: webhooks (execute, read, edit and delete a message) at /discord/api/webhooks/{id}/{token}.

Accepts the channels of `VendorCredentials.discord_webhooks`. A webhook takes 5 posts in any 2 seconds of machine time; the
429 carries `Via`, without which discord-webhook does not read its retry_after. The newest 2000 messages are kept.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
from flask import Blueprint, Response, g, request

from alphatrader.sandbox.vendors.exchange import answer, tell
from alphatrader.sandbox.vendors.rates import SlidingWindow
from alphatrader.sandbox.vendors.store import Store
from alphatrader.sandbox.vendors.world import VendorWorld

DISCORD_EPOCH_MS = 1_420_070_400_000
POSTS, PER_SECONDS = 5, 2.0
KEPT_MESSAGES = 2000

MOST_CONTENT, MOST_EMBEDS, MOST_FIELDS, MOST_OF_ALL_EMBEDS = 2000, 10, 25, 6000
EMBED_LENGTHS = {"title": 256, "description": 4096, "url": 2048}
PARTS = ("footer", "author", "image", "thumbnail", "video", "provider")
NESTED_LENGTHS = {("footer", "text"): 2048, ("author", "name"): 256}


class Discord:
    name = "discord"

    def __init__(self, world: VendorWorld, store: Store) -> None:
        self._world, self._store = world, store
        self._channels = {webhook: (channel, token) for channel, (webhook, token) in world.credentials.discord_webhooks.items()}
        self._limits = {webhook: SlidingWindow(POSTS, PER_SECONDS, world.machine_s) for webhook in self._channels}

    def blueprint(self) -> Blueprint:
        routes = Blueprint(self.name, __name__)
        for prefix in ("/api", "/api/v<int:version>"):
            webhook = f"{prefix}/webhooks/<webhook>/<token>"
            routes.add_url_rule(webhook, view_func=self.execute, methods=["POST"])
            routes.add_url_rule(webhook, view_func=self.describe, methods=["GET"])
            routes.add_url_rule(f"{webhook}/messages/<message>", view_func=self.message, methods=["GET", "PATCH", "DELETE"])
        return routes

    def error(self, status: int, seconds: float) -> Response:
        if status == 429:
            return _limited(seconds)
        return answer({"message": f"{status}: injected", "code": 0}, status)

    def describe(self, webhook: str, token: str, version: int = 10) -> Response:
        if (channel := self._channel(webhook, token)) is None:
            return _unknown_webhook()
        return answer(
            {
                "application_id": None,
                "avatar": None,
                "channel_id": webhook,
                "guild_id": "1",
                "id": webhook,
                "name": channel,
                "type": 1,
                "token": token,
            }
        )

    def execute(self, webhook: str, token: str, version: int = 10) -> Response:
        if (channel := self._channel(webhook, token)) is None:
            return _unknown_webhook()
        limit = self._limits[webhook]
        wait = limit.admit()
        if wait is not None:
            g.accepted = False
            return _limited(wait)
        payload = _payload()
        errors = refusals(payload, whole=True)
        if errors:
            return _invalid(errors)
        assert isinstance(payload, dict)  # refusals() has refused anything else
        message = self._message(webhook, channel, payload)
        self._store.put(self.name, "message", message["id"], message)
        self._store.trim(self.name, "message", KEPT_MESSAGES)
        tell(channel, str(payload.get("username") or ""), plain_text(payload))
        headers = {
            "X-RateLimit-Limit": str(POSTS),
            "X-RateLimit-Remaining": str(limit.remaining()),
            "X-RateLimit-Reset": f"{limit.reset_s():.3f}",
            "X-RateLimit-Reset-After": f"{max(limit.reset_s() - self._world.machine_s(), 0):.3f}",
            "X-RateLimit-Bucket": f"webhook-{webhook}",
        }
        if request.args.get("wait", "false").lower() in ("true", "1"):
            return answer(message, 200, headers)
        return Response(b"", 204, headers)

    def message(self, webhook: str, token: str, message: str, version: int = 10) -> Response:
        if (channel := self._channel(webhook, token)) is None:
            return _unknown_webhook()
        held = self._store.get(self.name, "message", message)
        if held is None or held["webhook_id"] != webhook:
            return answer({"message": "Unknown Message", "code": 10008}, 404)
        if request.method == "DELETE":
            self._store.delete(self.name, "message", message)
            tell(channel, "deleted", f"(message {message} deleted)")
            return Response(b"", 204)
        if request.method == "PATCH":
            payload = _payload()
            errors = refusals(payload, whole=False)
            if errors:
                return _invalid(errors)
            assert isinstance(payload, dict)  # as above
            if "content" in payload:
                held["content"] = payload["content"] or ""
            if "embeds" in payload:
                held["embeds"] = [_embed(embed) for embed in payload["embeds"] or ()]
            held["edited_timestamp"] = self._now()
            self._store.put(self.name, "message", message, held)
            tell(channel, "edited", plain_text(held))
        return answer(held)

    def _channel(self, webhook: str, token: str) -> str | None:
        channel, right = self._channels.get(webhook, (None, None))
        return channel if channel is not None and token == right else None

    def _now(self) -> str:
        return datetime.fromtimestamp(self._world.machine_s(), UTC).isoformat()

    def _message(self, webhook: str, channel: str, payload: dict[str, Any]) -> dict[str, Any]:
        number = self._store.count(self.name, "message", 0)
        snowflake = str(((int(self._world.machine_s() * 1000) - DISCORD_EPOCH_MS) << 22) | (number & 0xFFF))
        return {
            "type": 0,
            "content": payload.get("content") or "",
            "mentions": [],
            "mention_roles": [],
            "attachments": [],
            "embeds": [_embed(embed) for embed in payload.get("embeds") or ()],
            "timestamp": self._now(),
            "edited_timestamp": None,
            "flags": payload.get("flags") or 0,
            "components": [],
            "id": snowflake,
            "channel_id": webhook,
            "author": {
                "id": webhook,
                "username": payload.get("username") or channel,
                "avatar": None,
                "discriminator": "0000",
                "public_flags": 0,
                "flags": 0,
                "bot": True,
                "global_name": None,
                "primary_guild": None,
            },
            "pinned": False,
            "mention_everyone": False,
            "tts": bool(payload.get("tts")),
            "webhook_id": webhook,
        }


def refusals(payload: Any, *, whole: bool) -> dict[str, str]:
    """What Discord would refuse, by field; empty when it would take the message. `whole`: a new message must say something."""
    if not isinstance(payload, dict):
        return {"_": "The request body is not a JSON object"}
    errors: dict[str, str] = {}
    content, embeds = payload.get("content"), payload.get("embeds")
    if content is not None and not isinstance(content, str):
        errors["content"] = "Must be a string"
    elif content and len(content) > MOST_CONTENT:
        errors["content"] = f"Must be {MOST_CONTENT} or fewer in length."
    if embeds is not None and not isinstance(embeds, list):
        errors["embeds"] = "Must be a list"
        embeds = []
    username = payload.get("username")
    if username is not None and not (isinstance(username, str) and 1 <= len(username) <= 80):
        errors["username"] = "Must be between 1 and 80 in length."
    if embeds and len(embeds) > MOST_EMBEDS:
        errors["embeds"] = f"Must be {MOST_EMBEDS} or fewer in length."
    length = 0
    for number, embed in enumerate(embeds or ()):
        length += _check_embed(f"embeds.{number}", embed, errors)
    if length > MOST_OF_ALL_EMBEDS:
        errors["embeds"] = f"Embed size exceeds maximum size of {MOST_OF_ALL_EMBEDS}"
    if whole and not errors and not content and not embeds and not payload.get("components") and not request.files:
        errors["_"] = "Cannot send an empty message"
    return errors


def _check_embed(place: str, embed: Any, errors: dict[str, str]) -> int:
    """Checks one embed and gives the length that counts towards the limit of all embeds."""
    if not isinstance(embed, dict):
        errors[place] = "Must be an object"
        return 0
    length = 0
    for name, most in EMBED_LENGTHS.items():
        length += _check_text(f"{place}.{name}", embed.get(name), most, errors, required=False)
    for (outer, inner), most in NESTED_LENGTHS.items():
        part = _object(f"{place}.{outer}", embed.get(outer), errors)
        length += _check_text(f"{place}.{outer}.{inner}", part.get(inner), most, errors, required=False)
    for name in PARTS:
        _object(f"{place}.{name}", embed.get(name), errors)
    colour = embed.get("color")
    if colour is not None and not (str(colour).isdigit() and 0 <= int(colour) <= 0xFFFFFF):
        errors[f"{place}.color"] = "Must be between 0 and 16777215."
    fields = embed.get("fields") or []
    if not isinstance(fields, list):
        errors[f"{place}.fields"] = "Must be a list"
        return length
    if len(fields) > MOST_FIELDS:
        errors[f"{place}.fields"] = f"Must be {MOST_FIELDS} or fewer in length."
    for number, given in enumerate(fields):
        field = _object(f"{place}.fields.{number}", given, errors)
        length += _check_text(f"{place}.fields.{number}.name", field.get("name"), 256, errors, required=True)
        length += _check_text(f"{place}.fields.{number}.value", field.get("value"), 1024, errors, required=True)
    return length


def _object(place: str, value: Any, errors: dict[str, str]) -> dict[str, Any]:
    if value is None or isinstance(value, dict):
        return value or {}
    errors[place] = "Must be an object"
    return {}


def _check_text(place: str, text: Any, most: int, errors: dict[str, str], *, required: bool) -> int:
    if text is None or text == "":
        if required:
            errors[place] = "This field is required"
        return 0
    if not isinstance(text, str):
        errors[place] = "Must be a string"
        return 0
    if len(text) > most:
        errors[place] = f"Must be {most} or fewer in length."
    return len(text)


def plain_text(payload: dict[str, Any]) -> str:
    """A message as lines of text, for people who look at the outbox."""
    lines = [payload.get("content") or ""]
    for embed in payload.get("embeds") or ():
        lines += [embed.get("title") or "", embed.get("description") or ""]
        lines += [f"{field['name']}: {field['value']}" for field in embed.get("fields") or ()]
        lines.append((embed.get("footer") or {}).get("text") or "")
    return "\n".join(line for line in lines if line)


def _payload() -> Any:
    """The message of a JSON body, or of the payload_json part of a multipart one."""
    raw: bytes | str = request.form.get("payload_json") or request.get_data()
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None


def _embed(embed: dict[str, Any]) -> dict[str, Any]:
    """An embed as Discord gives it back: absent parts left out, inline always said."""
    shown = {key: value for key, value in embed.items() if value not in (None, [], {}, "")}
    shown["type"] = "rich"
    if "color" in shown:
        shown["color"] = int(shown["color"])
    for part in PARTS:
        if part in shown:
            shown[part] = {key: value for key, value in shown[part].items() if value is not None}
    if "fields" in shown:
        shown["fields"] = [
            {"name": field["name"], "value": field["value"], "inline": bool(field.get("inline"))} for field in shown["fields"]
        ]
    return shown


def _unknown_webhook() -> Response:
    return answer({"message": "Unknown Webhook", "code": 10015}, 404)


def _invalid(errors: dict[str, str]) -> Response:
    if list(errors) == ["_"]:
        return answer({"message": errors["_"], "code": 50006}, 400)
    tree: dict[str, Any] = {}
    for place, text in errors.items():
        node = tree
        for part in place.split("."):
            node = node.setdefault(part, {})
        node["_errors"] = [{"code": "BASE_TYPE_BAD", "message": text}]
    return answer({"message": "Invalid Form Body", "code": 50035, "errors": tree}, 400)


def _limited(seconds: float) -> Response:
    wait = math.ceil(seconds * 1000) / 1000
    body = {"message": "You are being rate limited.", "retry_after": wait, "global": False, "code": 0}
    headers = {
        "Via": "1.1 google",
        "Retry-After": str(max(math.ceil(wait), 1)),
        "X-RateLimit-Limit": str(POSTS),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset-After": f"{wait:.3f}",
        "X-RateLimit-Scope": "user",
    }
    return answer(body, 429, headers)
