"""The X stand-in through tweepy, whose session carries an adapter that sends api.twitter.com to loopback."""

from __future__ import annotations

import base64
import hmac
from hashlib import sha1

import pytest
import requests
import tweepy
from oauthlib.oauth1 import Client as OAuth1Client
from requests.adapters import HTTPAdapter

from alphatrader.sandbox.vendors.oauth1 import signature
from tests.support.vendors import Running, running_vendors


class ToLoopback(HTTPAdapter):
    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    def send(self, request, **options):
        request.url = request.url.replace("https://api.twitter.com", self.base)
        options["timeout"] = 5
        options["proxies"] = {}
        return super().send(request, **options)


def client_of(vendors: Running, **other) -> tweepy.Client:
    keys = vendors.credentials
    given = {
        "consumer_key": keys.x_consumer_key,
        "consumer_secret": keys.x_consumer_secret,
        "access_token": keys.x_access_token,
        "access_token_secret": keys.x_access_token_secret,
        **other,
    }
    client = tweepy.Client(**given)
    client.session.mount("https://api.twitter.com/", ToLoopback(f"{vendors.url}/x"))
    return client


def test_a_post_is_made_read_and_deleted(vendors):
    client = client_of(vendors)

    made = client.create_tweet(text="SPY 600C +42% & counting")
    assert client.get_me(user_auth=True).data.username == vendors.credentials.x_username
    assert client.get_tweet(made.data["id"], user_auth=True).data.text == "SPY 600C +42% & counting"
    assert client.delete_tweet(made.data["id"]).data["deleted"]

    assert vendors.told(vendor="x")[0]["text"] == "SPY 600C +42% & counting"


@pytest.mark.parametrize("wrong", ["consumer_key", "consumer_secret", "access_token", "access_token_secret"])
def test_a_wrong_key_or_secret_is_unauthorised(standing, wrong):
    with pytest.raises(tweepy.Unauthorized):
        client_of(standing, **{wrong: "not-the-right-one"}).create_tweet(text="hello")
    assert standing.told() == []


def signed_headers(vendors: Running, url: str, method: str = "GET", **more) -> dict[str, str]:
    keys = vendors.credentials
    signer = OAuth1Client(keys.x_consumer_key, keys.x_consumer_secret, keys.x_access_token, keys.x_access_token_secret, **more)
    return signer.sign(url, method)[1]


def test_the_signature_covers_method_host_path_and_query(vendors):
    url = "https://api.twitter.com/2/users/me?user.fields=id,name"
    headers = signed_headers(vendors, url)
    ask = f"{vendors.url}/x/2/users/me"

    assert requests.get(f"{ask}?user.fields=id", headers=headers, timeout=5).status_code == 401
    assert requests.get(f"{ask}?user.fields=id,name", headers=headers, timeout=5).status_code == 200
    elsewhere = signed_headers(vendors, f"{ask}?user.fields=id,name")
    assert requests.get(f"{ask}?user.fields=id,name", headers=elsewhere, timeout=5).status_code == 401


def test_a_replayed_or_old_request_is_refused(vendors):
    url = "https://api.twitter.com/2/users/me"
    headers = signed_headers(vendors, url)
    ask = f"{vendors.url}/x/2/users/me"

    assert requests.get(ask, headers=headers, timeout=5).status_code == 200
    assert requests.get(ask, headers=headers, timeout=5).status_code == 401
    late = signed_headers(vendors, url)
    vendors.clock.advance(3600)  # its clock stood still since it was made, the signer's did not
    assert requests.get(ask, headers=late, timeout=5).status_code == 401


def test_the_signature_of_the_rfc():
    """RFC 5849 section 3.4.1.1's base string."""
    parameters = [("b5", "=%3D"), ("a3", "a"), ("c@", ""), ("a2", "r b"), ("c2", ""), ("a3", "2 q")]
    parameters += [
        ("oauth_consumer_key", "9djdj82h48djs9d2"),
        ("oauth_token", "kkk9d7dh3k39sjv7"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131201"),
        ("oauth_nonce", "7d8f3e4a"),
    ]
    base = (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D"
        "%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1"
        "%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )
    expected = base64.b64encode(hmac.new(b"j49sk3j29djd&dh893hdasih9", base.encode(), sha1).digest()).decode()

    assert signature("POST", "http://example.com/request", parameters, "j49sk3j29djd", "dh893hdasih9") == expected


def test_the_same_text_twice_is_forbidden_even_after_a_restart(tmp_path):
    with running_vendors(tmp_path) as vendors:
        made = client_of(vendors).create_tweet(text="the same")
    with running_vendors(tmp_path) as vendors:
        client = client_of(vendors)
        with pytest.raises(tweepy.Forbidden, match="duplicate content"):
            client.create_tweet(text="the same")
        client.delete_tweet(made.data["id"])
        assert client.create_tweet(text="the same").data["id"] != made.data["id"]


def test_length_by_xs_own_count(vendors):
    client = client_of(vendors)

    client.create_tweet(text="x" * 280)
    client.create_tweet(text="y" * 256 + " https://example.com/" + "z" * 200)  # a link is 23
    for text in ("x" * 281, "漢" * 141, ""):
        with pytest.raises((tweepy.Forbidden, tweepy.BadRequest)):
            client.create_tweet(text=text) if text else client.create_tweet(text=" ")


def test_a_hundred_posts_in_fifteen_minutes_with_headers_that_say_so(vendors):
    client = client_of(vendors)
    for number in range(100):
        client.create_tweet(text=f"post {number}")

    with pytest.raises(tweepy.TooManyRequests) as limited:
        client.create_tweet(text="one more")
    assert limited.value.response.headers["x-rate-limit-remaining"] == "0"
    assert limited.value.reset_time == int(vendors.clock.machine_s() + 900) + 1
    vendors.clock.advance(900)
    later = str(int(vendors.clock.machine_s()))
    headers = signed_headers(vendors, "https://api.twitter.com/2/tweets", "POST", timestamp=later)
    again = requests.post(f"{vendors.url}/x/2/tweets", json={"text": "one more"}, headers=headers, timeout=5)
    assert (again.status_code, again.headers["x-rate-limit-remaining"]) == (201, "99")


def test_an_injected_failure_is_the_clients_own_error(vendors):
    vendors.fault("x", "status", status=503)
    with pytest.raises(tweepy.TwitterServerError):
        client_of(vendors).create_tweet(text="hello")


def test_no_secret_in_the_wire_log(vendors):
    client_of(vendors).create_tweet(text="hello")

    text = (vendors.data_dir / "vendors.jsonl").read_text()
    assert "x-access" not in text and "oauth_signature" not in text
