"""X through tweepy: one post, and what became of it.

tweepy's host is fixed and it sets no time-out: the adapter on its session gives the time-out, and sends the signed request to the
configured address where that is another. Used by tasks/twitter.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import requests
import tweepy
from requests.adapters import HTTPAdapter

from alphatrader.clients.sending import LimitedError, LostAnswerError, RefusedError, breaker, of_requests, of_status
from alphatrader.contract.settings.people import Vendors

HOST: Final = "https://api.twitter.com"


class DuplicateError(RefusedError):
    """X already carries a post of this text."""


@dataclass(frozen=True, slots=True)
class XKeys:
    consumer_key: str
    consumer_secret: str
    access_token: str
    access_secret: str


class _Adapter(HTTPAdapter):
    def __init__(self, base: str, timeout: float) -> None:
        super().__init__()
        self._base, self._timeout = base, timeout

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        if self._base != HOST and request.url is not None:
            request.url = self._base + request.url.removeprefix(HOST)
        return super().send(request, stream=stream, timeout=self._timeout, verify=verify, cert=cert, proxies=proxies)


class XPoster:
    """Posts. Raises DuplicateError or one of the four SendErrors."""

    def __init__(self, vendors: Vendors, keys: XKeys, machine_ns: Callable[[], int]) -> None:
        self._client = tweepy.Client(
            consumer_key=keys.consumer_key,
            consumer_secret=keys.consumer_secret,
            access_token=keys.access_token,
            access_token_secret=keys.access_secret,
            wait_on_rate_limit=False,
        )
        self._client.session.mount(f"{HOST}/", _Adapter(vendors.x_url.rstrip("/"), vendors.timeout_seconds))
        self._machine_ns = machine_ns
        self.breaker = breaker(vendors, machine_ns)

    def post(self, text: str) -> str:
        """The post's id."""
        return self.breaker.call(lambda: self._post(text))

    def _post(self, text: str) -> str:
        try:
            answer = self._client.create_tweet(text=text)
            return str(answer.data["id"])
        except tweepy.TooManyRequests as error:
            wait = None if error.reset_time is None else max(1.0, error.reset_time - self._machine_ns() / 1e9)
            raise LimitedError("429 too many requests", wait) from None
        except tweepy.Forbidden as error:
            kind = DuplicateError if "duplicate" in str(error).lower() else RefusedError
            raise kind("403 forbidden") from None
        except tweepy.HTTPException as error:
            raise of_status(error.response.status_code) from None
        except requests.exceptions.JSONDecodeError:
            raise LostAnswerError("an answer that is no JSON") from None
        except requests.RequestException as error:
            raise of_requests(error) from None
        except (KeyError, TypeError, AttributeError):
            raise LostAnswerError("an answer that is no post") from None
