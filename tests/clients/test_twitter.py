"""XPoster through tweepy against the stand-in, which verifies the signature over the vendor's own address."""

from __future__ import annotations

import time

import pytest

from alphatrader.clients.sending import RefusedError
from alphatrader.clients.twitter import DuplicateError, XKeys, XPoster
from alphatrader.contract.settings.people import Vendors
from tests.support.vendors import CREDENTIALS

KEYS = XKeys(
    CREDENTIALS.x_consumer_key, CREDENTIALS.x_consumer_secret, CREDENTIALS.x_access_token, CREDENTIALS.x_access_token_secret
)


def poster(url: str, keys: XKeys = KEYS) -> XPoster:
    return XPoster(Vendors(x_url=f"{url}/x", timeout_seconds=1.0), keys, time.time_ns)


def test_a_post_goes_out_signed_and_its_id_comes_back(vendors):
    tweet = poster(vendors.url).post("Closed SPY: +$10")

    assert vendors.wire(vendor="x")[0]["answer"]["data"]["id"] == tweet
    assert vendors.told(vendor="x")[0]["text"] == "Closed SPY: +$10"


def test_the_same_text_twice_is_a_duplicate(vendors):
    client = poster(vendors.url)
    client.post("once")
    with pytest.raises(DuplicateError):
        client.post("once")


def test_wrong_keys_are_refused(vendors):
    with pytest.raises(RefusedError):
        poster(vendors.url, XKeys("a", "b", "c", "d")).post("text")
