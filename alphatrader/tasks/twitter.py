"""TwitterBot: a winning trade becomes a post on X, once, and not before the free tier could know of it.

`twitter.announce(position)` is woken by the distributor when a winning position closed; `twitter.sweep()` is beat's, each minute,
and finds wins whose wake-up was lost, of the last day. Reads `ledger:trades`; writes `twitter:posted_signals` (claimed before the
send: never twice) and `twitter:tweet:{id}`. A post whose answer was lost stays `unknown` and is not repeated; X's own refusal of
a duplicate counts as posted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from msgspec.structs import replace

from alphatrader.clients.sending import LimitedError, RefusedError, SendError, UnreachableError
from alphatrader.clients.twitter import DuplicateError, XKeys, XPoster
from alphatrader.contract import keys as k
from alphatrader.contract.messages.distribution import Tweet
from alphatrader.contract.messages.positions import ClosedTrade
from alphatrader.contract.settings import Settings
from alphatrader.core.distribution.ledger import STALE_CLAIM_NS
from alphatrader.core.distribution.tiers import SECOND, delay_ns
from alphatrader.core.distribution.wording import tweet_text
from alphatrader.runtime.celery_app import app, context, heartbeat, store
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.health import Heartbeat
from alphatrader.runtime.store import Store

NEWS_NS: Final = 24 * 3600 * SECOND
"""Market time after which a win is no news."""
LEAST_WAIT_SECONDS: Final = 60.0


class TwitterBot:
    def __init__(
        self, store: Store, settings: Settings, poster: XPoster | None, clock: Clock, health: Heartbeat, log: Any
    ) -> None:
        self._store, self._settings, self._poster = store, settings, poster
        self._clock, self._health, self._log = clock, health, log
        self._rest_until_ns = 0
        """Machine time until which X asked us to wait."""

    def announce(self, position_id: str) -> float | None:
        """Posts this win if it is one and its time has come. Returns machine seconds to wait where it came early."""
        trade = self._store.field(k.LEDGER_TRADES.at(), position_id)
        if trade is None or not self._wins(trade):
            return None
        left = self._clock.machine_seconds_until(self._due_ns(trade))
        if left > 0:
            return left
        self._post(trade)
        return None

    def sweep(self) -> None:
        """Wins of the last day that nobody posted, and claims that nobody will end."""
        self._end_stale_claims()
        posted = self._store.fields(k.POSTED_SIGNALS.at())
        now_ns = self._clock.market_ns()
        for trade in self._store.fields(k.LEDGER_TRADES.at()).values():
            if (
                trade.position_id not in posted
                and self._wins(trade)
                and self._due_ns(trade) <= now_ns < trade.closed_ns + NEWS_NS
            ):
                self._post(trade)

    def _wins(self, trade: ClosedTrade) -> bool:
        known = trade.exit_known and trade.commissions_known  # else the sweep comes again
        return known and trade.pnl > 0 and not trade.position_id.startswith("ext-")

    def _due_ns(self, trade: ClosedTrade) -> int:
        return trade.closed_ns + delay_ns("free", self._settings.distribution)

    def _post(self, trade: ClosedTrade) -> None:
        poster = self._poster
        machine_ns = self._clock.machine_ns()
        if poster is None or machine_ns < self._rest_until_ns or not poster.breaker.ready():
            return  # the sweep comes again
        text = tweet_text(trade, self._settings.distribution.disclaimer)
        tweet = Tweet("", text, trade.position_id, self._clock.market_ns(), "sending", machine_ns)
        if not self._store.put_field_once(k.POSTED_SIGNALS.at(), tweet.about, tweet):
            return
        try:
            tweet = replace(tweet, id=poster.post(text), state="posted")
        except (LimitedError, UnreachableError) as error:
            self._release(tweet, error)
            return
        except DuplicateError:
            tweet = replace(tweet, state="posted", reason="X says it stands already")
        except RefusedError as error:
            tweet = replace(tweet, state="failed", reason=str(error))
        except SendError as error:
            tweet = replace(tweet, state="unknown", reason=str(error))
        self._keep(tweet)

    def _release(self, tweet: Tweet, error: LimitedError | UnreachableError) -> None:
        """It surely was not posted: the claim is given back, and X has its rest."""
        batch = self._store.batch()
        batch.drop_field(k.POSTED_SIGNALS.at(), tweet.about)
        self._store.commit(batch)
        wait = max(LEAST_WAIT_SECONDS, error.wait_seconds or 0.0)
        self._rest_until_ns = self._clock.machine_ns() + round(wait * SECOND)
        self._health.count("retried x")
        self._log.warning("tweet_later", about=tweet.about, reason=str(error), wait_seconds=round(wait, 1))

    def _keep(self, tweet: Tweet) -> None:
        batch = self._store.batch()
        batch.put_field(k.POSTED_SIGNALS.at(), tweet.about, tweet)
        if tweet.id:
            batch.put(k.TWEET.at(id=tweet.id), tweet)
        self._store.commit(batch)
        self._health.count(f"{tweet.state} x")
        say: Callable[..., None] = self._log.info if tweet.state == "posted" else self._log.warning
        say("tweet", state=tweet.state, about=tweet.about, id=tweet.id, reason=tweet.reason)

    def _end_stale_claims(self) -> None:
        """A claim whose worker died: nobody can tell whether it was posted."""
        for tweet in self._store.fields(k.POSTED_SIGNALS.at()).values():
            if tweet.state == "sending" and self._clock.machine_ns() - tweet.machine_ns > STALE_CLAIM_NS:
                self._keep(replace(tweet, state="unknown", reason="its worker died while posting"))


@cache
def bot() -> TwitterBot:
    """This process's one; without all four of X's secrets it posts nothing and says so."""
    here = context()
    names = ("x_consumer_key", "x_consumer_secret", "x_access_token", "x_access_secret")
    keys = [value for name in names if (value := here.secrets.get(name))]
    poster = XPoster(here.settings.vendors, XKeys(*keys), here.clock.machine_ns) if len(keys) == len(names) else None
    heartbeat().fact("x", "configured" if poster else "not configured: nothing is posted")
    return TwitterBot(store(), here.settings, poster, here.clock, heartbeat(), here.log)


@app.task(name="twitter.announce", bind=True)  # type: ignore[untyped-decorator]
def announce(self: Any, position_id: str) -> None:
    left = bot().announce(position_id)
    if left is not None:
        self.apply_async(args=[position_id], countdown=left)


@app.task(name="twitter.sweep")  # type: ignore[untyped-decorator]
def sweep() -> None:
    bot().sweep()
