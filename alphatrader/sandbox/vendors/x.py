"""The X API v2 stand-in: POST /x/2/tweets, GET and DELETE /x/2/tweets/{id}, GET /x/2/users/me.

Verifies the OAuth 1.0a signature over https://api.twitter.com, because tweepy signs that address and an adapter mounted on
its session rewrites the URL afterwards. A post whose text equals one that stands is refused (403), as is one longer than
280 characters by X's count. 100 posts in any 15 minutes of machine time; x-rate-limit headers on every answer.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections import deque
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, g, request

from alphatrader.sandbox.vendors.exchange import answer, tell
from alphatrader.sandbox.vendors.oauth1 import authorization_fields, signature
from alphatrader.sandbox.vendors.rates import SlidingWindow
from alphatrader.sandbox.vendors.store import Store
from alphatrader.sandbox.vendors.world import VendorWorld

SIGNED_HOST = "https://api.twitter.com"
USER_ID = "1700000000000000001"
TWITTER_EPOCH_MS = 1_288_834_974_657
POSTS, READS, WINDOW_SECONDS = 100, 900, 900.0
MOST_CHARACTERS, URL_CHARACTERS = 280, 23
CLOCK_TOLERANCE_SECONDS = 300
URL = re.compile(r"https?://\S+")


class X:
    name = "x"

    def __init__(self, world: VendorWorld, store: Store) -> None:
        self._world, self._store = world, store
        self._posts = SlidingWindow(POSTS, WINDOW_SECONDS, world.machine_s)
        self._reads = SlidingWindow(READS, WINDOW_SECONDS, world.machine_s)
        self._nonces: deque[str] = deque(maxlen=10_000)

    def blueprint(self) -> Blueprint:
        routes = Blueprint(self.name, __name__)
        routes.add_url_rule("/2/tweets", view_func=self.create, methods=["POST"])
        routes.add_url_rule("/2/tweets/<tweet>", view_func=self.one, methods=["GET", "DELETE"])
        routes.add_url_rule("/2/users/me", view_func=self.me)
        routes.before_request(self._authorise)
        return routes

    def error(self, status: int, seconds: float) -> Response:
        headers = {"x-rate-limit-reset": str(int(self._world.machine_s() + seconds))} if status == 429 else {}
        title = {429: "Too Many Requests", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}.get(
            status, "Service Unavailable"
        )
        return problem(status, title, title, headers)

    def _authorise(self) -> Response | None:
        keys = self._world.credentials
        fields = authorization_fields(request.headers.get("Authorization", ""))
        signed = [(name, value) for name, value in fields.items() if name not in ("realm", "oauth_signature")]
        query = [(name, value) for name, values in request.args.lists() for value in values]
        expected = signature(
            request.method,
            SIGNED_HOST + request.path.removeprefix("/x"),
            [*signed, *query],
            keys.x_consumer_secret,
            keys.x_access_token_secret,
        )
        stamp = fields.get("oauth_timestamp", "")
        in_time = stamp.isdigit() and abs(int(stamp) - self._world.machine_s()) <= CLOCK_TOLERANCE_SECONDS
        known = fields.get("oauth_consumer_key") == keys.x_consumer_key and fields.get("oauth_token") == keys.x_access_token
        good = hmac.compare_digest(expected, fields.get("oauth_signature", ""))
        nonce = fields.get("oauth_nonce", "")
        if not (known and good and in_time and nonce and nonce not in self._nonces):
            g.accepted = False
            return problem(401, "Unauthorized", "Unauthorized")
        self._nonces.append(nonce)
        return None

    def create(self) -> Response:
        body = request.get_json(silent=True)
        text = body.get("text") if isinstance(body, dict) else None
        if not isinstance(text, str) or not text.strip():
            return _invalid("One or more parameters to your request was invalid: text is required.")
        wait = self._posts.admit()
        if wait is not None:
            return problem(429, "Too Many Requests", "Too Many Requests", self._rate_headers(self._posts))
        headers = self._rate_headers(self._posts)
        if weighted_length(text) > MOST_CHARACTERS:
            return problem(
                403, "Forbidden", "Your Tweet text is too long. You are not allowed to create a Tweet with this text.", headers
            )
        with self._store.transaction():
            if any(tweet["text"] == text for tweet in self._store.all(self.name, "tweet")):
                return problem(403, "Forbidden", "You are not allowed to create a Tweet with duplicate content.", headers)
            number = self._store.count(self.name, "tweet", 0)
            tweet_id = str(((int(self._world.machine_s() * 1000) - TWITTER_EPOCH_MS) << 22) | (number & 0xFFF))
            created = datetime.fromtimestamp(self._world.machine_s(), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            self._store.put(self.name, "tweet", tweet_id, {"id": tweet_id, "text": text, "created_at": created})
        tell(f"@{self._world.credentials.x_username}", "", text)
        return answer({"data": {"id": tweet_id, "text": text, "edit_history_tweet_ids": [tweet_id]}}, 201, headers)

    def one(self, tweet: str) -> Response:
        if self._reads.admit() is not None:
            return problem(429, "Too Many Requests", "Too Many Requests", self._rate_headers(self._reads))
        headers = self._rate_headers(self._reads)
        if request.method == "DELETE":
            deleted = self._store.delete(self.name, "tweet", tweet)
            if deleted:
                tell(f"@{self._world.credentials.x_username}", "deleted", f"(post {tweet} deleted)")
            return answer({"data": {"deleted": deleted}}, 200, headers)
        held = self._store.get(self.name, "tweet", tweet)
        if held is None:
            detail = f"Could not find tweet with id: [{tweet}]."
            return answer({"errors": [{"value": tweet, "detail": detail, "title": "Not Found Error", "resource_type": "tweet"}]})
        return answer({"data": {"id": tweet, "text": held["text"], "edit_history_tweet_ids": [tweet]}}, 200, headers)

    def me(self) -> Response:
        if self._reads.admit() is not None:
            return problem(429, "Too Many Requests", "Too Many Requests", self._rate_headers(self._reads))
        user = {"id": USER_ID, "name": "AlphaTrader sandbox", "username": self._world.credentials.x_username}
        return answer({"data": user}, 200, self._rate_headers(self._reads))

    def _rate_headers(self, limit: SlidingWindow) -> dict[str, str]:
        return {
            "x-rate-limit-limit": str(limit.limit),
            "x-rate-limit-remaining": str(limit.remaining()),
            "x-rate-limit-reset": str(int(limit.reset_s()) + 1),
        }


def weighted_length(text: str) -> int:
    """X's count: a link is 23, a wide character (CJK, emoji) 2."""
    text, links = URL.subn("", unicodedata.normalize("NFC", text))
    return links * URL_CHARACTERS + sum(1 if ord(letter) <= 0x10FF or 0x2000 <= ord(letter) <= 0x201F else 2 for letter in text)


def problem(status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    body: dict[str, Any] = {"title": title, "detail": detail, "type": "about:blank", "status": status}
    return answer(body, status, headers)


def _invalid(message: str) -> Response:
    body = {
        "errors": [{"message": message}],
        "title": "Invalid Request",
        "detail": "One or more parameters to your request was invalid.",
        "type": "https://api.twitter.com/2/problems/invalid-request",
    }
    return answer(body, 400)
