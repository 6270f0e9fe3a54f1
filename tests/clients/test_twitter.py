"""XPoster through tweepy against the stand-in, which verifies the signature over the vendor's own address."""

from __future__ import annotations

import time

import pytest

from alphatrader.clients.sending import LimitedError, LostAnswerError, RefusedError, SendError, UnreachableError
from alphatrader.clients.twitter import DuplicateError, XKeys, XPoster
from alphatrader.contract.settings.people import Vendors
from tests.support.servers import free_port
from tests.support.vendors import CREDENTIALS, running_vendors

KEYS = XKeys(
    CREDENTIALS.x_consumer_key, CREDENTIALS.x_consumer_secret, CREDENTIALS.x_access_token, CREDENTIALS.x_access_token_secret
)


@pytest.fixture
def vendors(tmp_path):
    with running_vendors(tmp_path) as running:
        yield running


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


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 429, "seconds": 40}, LimitedError),
        ({"kind": "status", "status": 503}, LimitedError),
        ({"kind": "status", "status": 403}, RefusedError),
        ({"kind": "status", "status": 500}, LostAnswerError),
        ({"kind": "html"}, LostAnswerError),
        ({"kind": "timeout", "seconds": 3}, LostAnswerError),
        ({"kind": "drop_after_accept"}, LostAnswerError),
        ({"kind": "truncate"}, LostAnswerError),
        ({"kind": "garbage"}, LostAnswerError),
    ],
)
def test_each_bad_answer_is_one_of_four_kinds(vendors, fault, kind):
    vendors.fault("x", fault.pop("kind"), **fault)

    with pytest.raises(SendError) as caught:
        poster(vendors.url).post("text")

    assert type(caught.value) is kind
    if fault.get("status") == 429:
        assert 30 < caught.value.wait_seconds <= 41


def test_wrong_keys_are_refused_and_nobody_listening_means_nothing_left(vendors):
    with pytest.raises(RefusedError):
        poster(vendors.url, XKeys("a", "b", "c", "d")).post("text")
    with pytest.raises(UnreachableError):
        poster(f"http://127.0.0.1:{free_port()}").post("text")
