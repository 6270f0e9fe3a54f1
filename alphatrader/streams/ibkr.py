"""`IBKRIngestion`: the broker's market data into Redis.

Reads the data connection to IB Gateway and `wanted:{module}`. Writes `market:{symbol}:*` and `events:market:{symbol}` for every
instrument of the settings, `quotes:{con_id}` and `contracts:options` for wanted contracts, and history for warm-up. The keys are
renewed while their feed lives and left to expire otherwise. Started by the Procfile line `ibkr`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from datetime import date
from random import Random
from typing import Any, Final

from alphatrader.clients.ibkr import lookup
from alphatrader.clients.ibkr import subscriptions as broker
from alphatrader.clients.ibkr.connection import BrokerConnection
from alphatrader.clients.ibkr.option_names import OptionNames
from alphatrader.clients.ibkr.subscriptions import Kind, Subscription, Subscriptions
from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import Bars, OptionRef
from alphatrader.contract.modules import Module
from alphatrader.core.market.contracts import Instrument, NoContractError, front_month, instruments, option_spec
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.quotes import OptionFeed
from alphatrader.core.market.slots import RETRY_SECONDS, Allocation
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.clock import exchange_datetime
from alphatrader.runtime.context import Context
from alphatrader.runtime.module import StreamModule

TURN_SECONDS: Final = 0.05
WANTED_SECONDS: Final = 0.25
UPKEEP_SECONDS: Final = 0.5
SILENT_SECONDS: Final = 15.0
"""In a session, a line silent this long is asked for anew; the wait doubles each time."""
HISTORY_CHECK_SECONDS: Final = 30.0
MENDING: Final = "mend depth"
MEND_SECONDS: Final = 5.0
"""A broken book is asked for anew at once, but not more often than this."""
FARM_SECONDS: Final = 5.0
"""A data farm must be down this long to be told: it flaps."""
LIMIT_PAUSE_SECONDS: Final = 2.0
"""After a refusal for want of lines or slots: long enough for the new limit to be obeyed first."""
HELD: Final = (Module.POSITIONS, Module.EXECUTION)
"""Whose contracts come before everything else: money hangs on them."""
ASKING: Final = (Module.RISK, Module.SIGNALS)


class IBKRIngestion(StreamModule):
    """The only writer of market data."""

    name = Module.IBKR

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        market, wire = self.settings.market, self.settings.broker
        self._instruments = {instrument.symbol: instrument for instrument in instruments(market)}
        self._feeds = {symbol: self._feed(instrument) for symbol, instrument in self._instruments.items()}
        self._contracts: dict[str, lookup.Listed] = {}
        self._options: dict[str, OptionFeed] = {}
        """Wanted options that have a line, by conId."""
        self._names = OptionNames(option_spec, self._publish_name, self._tell_unlisted, self.clock.monotonic)
        self._wanted: tuple[list[OptionRef], list[OptionRef]] = ([], [])
        """What is held, and what is only asked for; all named by the broker."""
        self._silent: dict[str, tuple[float, int]] = {}
        self._broken_farms: dict[str, float] = {}
        self._subscriptions: Subscriptions | None = None
        self._ib: Any = None
        self._link_up = False
        self._gap_reason = "started"
        self._qualified_on: date | None = None
        full = [symbol for symbol, instrument in self._instruments.items() if instrument.full]
        pinned = [symbol for symbol in self.settings.strategies.zero_dte.symbols if symbol in full]
        slots: dict[str, int] = {Kind.DEPTH: market.depth_slots, Kind.TICKS: market.tick_slots}
        self._allocation = Allocation(market.market_data_lines, slots, pinned, full)
        self._woken = asyncio.Event()
        self._history_due = False
        self._renewed_at = float("-inf")
        self._shown_at: dict[str, float] = {}
        self._frames_refused = 0
        self._connection = BrokerConnection(
            wire.gateways,
            wire.data_client_id,
            account=wire.account,
            mode=self.settings.mode,
            readonly=True,
            connect_timeout_seconds=wire.connect_timeout_seconds,
            backoff_first_seconds=wire.backoff_first_seconds,
            backoff_most_seconds=wire.backoff_most_seconds,
            log=self.log,
            random=Random(self.clock.machine_ns()),  # noqa: S311 - spreads reconnects, protects nothing
        )

    def _feed(self, instrument: Instrument) -> SymbolFeed:
        market = self.settings.market
        return SymbolFeed(
            instrument.symbol,
            full=instrument.full,
            depth_rows=market.depth_rows,
            quiet_seconds=market.quiet_seconds_by_symbol.get(instrument.symbol, market.quiet_seconds),
            market_ns=self.clock.market_ns,
            monotonic=self.clock.monotonic,
        )

    # -- life ------------------------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Go on numbering where the streams end, and with the contracts the broker has named."""
        for symbol, feed in self._feeds.items():
            newest = await self.store.latest(k.EVENTS_MARKET.at(symbol=symbol))
            feed.seq = max(feed.seq, newest[0].seq if newest else 0)
        today = f"{self.clock.session_date():%Y%m%d}"
        known = await self.store.fields(k.CONTRACTS.at())
        self._names.known = {occ: ref for occ, ref in known.items() if ref.expiry >= today}
        if gone := known.keys() - self._names.known.keys():
            batch = self.store.batch()
            for occ in gone:
                batch.drop_field(k.CONTRACTS.at(), occ)
            await self.store.commit(batch)

    async def run(self) -> None:
        try:
            await _together(
                self._connection.run(self.stopping, self._on_connected, self._on_lost),
                self._publish(),
                self._follow_wanted(),
                self._keep_up(),
                self._fetch_history(),
            )
        finally:
            self._on_lost("the module stopped or lost its server")
            self._names.stop()

    # -- the connection --------------------------------------------------------------------------------------------------

    async def _on_connected(self, ib: Any) -> None:
        self._ib = ib
        ib.errorEvent += self._on_error
        ib.updateEvent += self._on_read
        for feed in self._feeds.values():
            feed.set_depth(False)
            feed.set_ticks(False)
            feed.gap(self._gap_reason)
        self._allocation.forget_refusals()
        self._broken_farms.clear()
        self._subscriptions = Subscriptions(ib, self.settings.market.depth_rows, self._refuse_frame)
        self._link_up = True
        await self._qualify(list(self._instruments.values()))
        self._assign()
        self._history_due = True

    def _on_lost(self, reason: str) -> None:
        self._subscriptions = None
        self._link_up = False
        self._gap_reason = f"reconnected: {reason}"
        for feed in self._feeds.values():
            feed.silenced()
        for option in self._options.values():
            option.lost()
        self._options.clear()

    def _on_read(self) -> None:
        for feed in self._feeds.values():
            feed.end_of_read()
        self._woken.set()

    def _refuse_frame(self, why: str) -> None:
        self.health.count("frames_refused")
        self._frames_refused += 1
        if self._frames_refused < 20 or self._frames_refused % 1000 == 0:  # a broken gateway must not fill the disk
            self.log.warning("frame_refused", why=why, refused=self._frames_refused)

    def _on_error(self, req_id: int, code: int, text: str, _contract: Any) -> None:
        """What the broker says about the link, its farms, or one subscription."""
        subscriptions = self._subscriptions
        if subscriptions is None:
            return
        subscription = subscriptions.by_id(req_id)
        if code == broker.LINK_LOST:
            self._link_up = False
            for feed in self._feeds.values():
                feed.silenced()
            for option in self._options.values():
                option.heard = None
        elif code == broker.LINK_BACK:
            self._link_up = True
        elif code == broker.LINK_BACK_EMPTY:
            self._link_up = True
            for feed in self._feeds.values():
                feed.gap(f"{code}: resubscribed")
            for option in self._options.values():
                option.lost()
            subscriptions.reopen_all()
        elif code in broker.FARM_BROKEN:
            self._broken_farms.setdefault(text.rpartition(":")[2], self.clock.monotonic())
        elif code in broker.FARM_OK:
            self._broken_farms.pop(text.rpartition(":")[2], None)
        elif subscription is not None:
            self._on_subscription_error(subscriptions, subscription, code, text)
        elif code not in broker.HARMLESS and code not in broker.ADVISORY:
            self.health.count(f"broker_error_{code}")
        if code not in broker.HARMLESS and code not in broker.ADVISORY and code not in broker.FARM_OK:
            self.log.info("broker_says", code=code, text=text, name=subscription.name if subscription else None)

    def _on_subscription_error(self, subscriptions: Subscriptions, s: Subscription, code: int, text: str) -> None:
        feed = self._feeds.get(s.name)
        if code == broker.RESET:
            if feed is not None:
                feed.gap(f"{code}: depth reset", depth_only=True)
        elif code in broker.ASK_AGAIN:
            if feed is not None and s.kind == Kind.DEPTH:
                feed.depth_broken = f"{code}: {text}"
            else:
                subscriptions.reopen(s.kind, s.name)
        elif code in broker.LIMITS or code in broker.REFUSED:
            subscriptions.forget(s)
            now = self.clock.monotonic()
            if code in broker.LIMITS:
                self._allocation.limit_reached(s.kind, subscriptions.counts().get(s.kind, 0), now)
                self._allocation.refused(s.kind, s.name, now, retry_seconds=LIMIT_PAUSE_SECONDS)
            else:
                self._allocation.refused(s.kind, s.name, now)
            if self._options.pop(s.name, None) is not None and code == broker.UNKNOWN_CONTRACT:
                self._names.forget(int(s.name))
            if feed is not None and s.kind == Kind.DEPTH:
                feed.set_depth(False)
            if feed is not None and s.kind == Kind.TICKS:
                feed.set_ticks(False)
        elif code == broker.COMPETING:
            self.health.count("competing_session")

    # -- contracts -------------------------------------------------------------------------------------------------------

    async def _qualify(self, wanted: list[Instrument]) -> None:
        """Asks the broker which contract each instrument is. One that is not listed is told and asked again later."""
        answers = await asyncio.gather(*(self._find(instrument) for instrument in wanted), return_exceptions=True)
        for instrument, answer in zip(wanted, answers, strict=True):
            if isinstance(answer, lookup.LookupFailedError | NoContractError):
                self.health.count("contracts_not_found")
                self.log.warning("contract_not_found", symbol=instrument.symbol, reason=str(answer))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                self._use(instrument.symbol, answer)
        self._qualified_on = self.clock.session_date()

    async def _find(self, instrument: Instrument) -> lookup.Listed:
        if instrument.kind != "future":
            return await lookup.find_one(self._ib, instrument.spec)
        listed = [found for found in await lookup.find(self._ib, instrument.spec) if found.last_trading_day]
        return front_month(instrument.symbol, listed, self.clock.session_date(), lambda day: self.calendar.on(day) is not None)

    def _use(self, symbol: str, listed: lookup.Listed) -> None:
        before = self._contracts.get(symbol)
        self._contracts[symbol] = listed
        if before is None or before.con_id == listed.con_id or self._subscriptions is None:
            return
        self.log.info("rolled", symbol=symbol, old=before.local_symbol, new=listed.local_symbol)
        feed = self._feeds[symbol]
        for kind in Kind:
            self._subscriptions.close(kind, symbol)
        feed.set_depth(False)
        feed.set_ticks(False)
        feed.gap(f"rolled from {before.local_symbol} to {listed.local_symbol}")
        feed.bars.hole = True
        self._history_due = True

    async def _publish_name(self, ref: OptionRef) -> None:
        batch = self.store.batch()
        batch.put_field(k.CONTRACTS.at(), ref.occ, ref)
        await self.store.commit(batch)

    def _tell_unlisted(self, ref: OptionRef, reason: str) -> None:
        self.health.count("options_not_found")
        self.log.warning("option_not_found", occ=ref.occ, reason=reason)

    # -- who gets what ---------------------------------------------------------------------------------------------------

    async def _follow_wanted(self) -> None:
        while not self.stopping.is_set():
            messages = await self.store.get_many([k.WANTED.at(module=module) for module in (*HELD, *ASKING)])
            wanted = [list(message.contracts) if message else [] for message in messages]
            held = [ref for refs in wanted[: len(HELD)] for ref in refs]
            asked = [ref for refs in wanted[len(HELD) :] for ref in refs]
            ib, today = self._ib if self._link_up else None, f"{self.clock.session_date():%Y%m%d}"
            self._wanted = (self._names.named(held, ib, today), self._names.named(asked, ib, today))
            self._assign()
            await self.pause(WANTED_SECONDS)

    def _assign(self) -> None:
        """Gives lines and slots to who should have them now."""
        if self._subscriptions is None or not self._link_up:
            return
        subscriptions, now = self._subscriptions, self.clock.monotonic()
        held, asked = self._wanted
        refs = {str(ref.con_id): ref for ref in (*asked, *held)}
        ready = [symbol for symbol in self._instruments if symbol in self._contracts]
        full = [symbol for symbol in ready if self._instruments[symbol].full]
        order = (*(str(ref.con_id) for ref in held), *full, *(str(ref.con_id) for ref in asked), *ready)
        close, ask = self._allocation.lines(order, subscriptions.names(Kind.QUOTE), now)
        for name in close:
            subscriptions.close(Kind.QUOTE, name)
            self._options.pop(name, None)
        for name in ask:
            if name in self._feeds:
                subscriptions.open(Kind.QUOTE, name, self._contracts[name].contract, self._feeds[name], self._generic_ticks(name))
            else:
                feed = OptionFeed(refs[name], int(name), self.clock.market_ns, self.clock.machine_ns, self.clock.monotonic)
                self._options[name] = feed
                subscriptions.open(Kind.QUOTE, name, lookup.by_con_id(int(name)), feed)
        for kind, switch in ((Kind.DEPTH, SymbolFeed.set_depth), (Kind.TICKS, SymbolFeed.set_ticks)):
            close, ask = self._allocation.slots(kind, self._contracts, subscriptions.names(kind), now)
            for symbol in close:
                subscriptions.close(kind, symbol)
                switch(self._feeds[symbol], False)
            for symbol in ask:
                switch(self._feeds[symbol], True)
                subscriptions.open(kind, symbol, self._contracts[symbol].contract, self._feeds[symbol])
        for symbol in full:
            if not subscriptions.is_open(Kind.BARS, symbol) and self._allocation.may_ask(Kind.BARS, symbol, now):
                subscriptions.open(Kind.BARS, symbol, self._contracts[symbol].contract, self._feeds[symbol])

    def _generic_ticks(self, symbol: str) -> str:
        instrument = self._instruments[symbol]
        if not instrument.full:
            return ""
        return broker.EQUITY_TICKS if instrument.kind == "equity" else broker.FUTURE_TICKS

    # -- what goes out ---------------------------------------------------------------------------------------------------

    async def _publish(self) -> None:
        while not self.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TURN_SECONDS):
                    await self._woken.wait()
            self._woken.clear()
            batch = self.store.batch()
            now = self.clock.monotonic()
            renew = now - self._renewed_at >= self.settings.market.renew_seconds
            if renew:
                self._renewed_at = now
            for feed in self._feeds.values():
                self._show(batch, feed, now, renew=renew)
            for option in self._options.values():
                if (option.dirty or renew) and option.alive(now, self.settings.market.quiet_seconds):
                    option.dirty = False
                    batch.put(k.QUOTES.at(con_id=option.con_id), option.message())
            await self.store.post(batch)

    def _show(self, batch: Batch, feed: SymbolFeed, now: float, *, renew: bool) -> None:
        """Events as they came; state keys when they changed, and all of them when they are to be renewed."""
        for event in feed.take_events(now):
            batch.append(k.EVENTS_MARKET.at(symbol=feed.symbol), event)
        if not feed.alive(now):
            self._shown_at.pop(feed.symbol, None)
            return
        shown_at = self._shown_at.get(feed.symbol)
        everything = renew or shown_at is None
        if not everything and (not feed.changed or (shown_at is not None and now - shown_at < TURN_SECONDS)):
            return
        self._shown_at[feed.symbol] = now
        changed, feed.changed = feed.changed, set()
        symbol = feed.symbol
        if everything or "last" in changed:
            batch.put(k.MARKET_LAST.at(symbol=symbol), feed.last())
        if feed.full:
            if everything or "book" in changed:
                batch.put(k.MARKET_BOOK.at(symbol=symbol), feed.book(now))
            if everything or "trades" in changed:
                batch.put(k.MARKET_TRADES.at(symbol=symbol), feed.trades())
            if everything or "bars" in changed:
                batch.put(k.MARKET_BARS.at(symbol=symbol), feed.five_second_bars())
            if everything or "status" in changed:
                batch.put(k.MARKET_STATUS.at(symbol=symbol), feed.status())
            if "history" in changed:
                batch.put(k.MARKET_HISTORY.at(symbol=symbol), feed.history())
        batch.put(k.MARKET_TIMESTAMP.at(symbol=symbol), feed.timestamps())

    # -- history ---------------------------------------------------------------------------------------------------------

    async def _fetch_history(self) -> None:
        """The past of each symbol: at each connect, when a minute is missing, and on a new day. One request at a time."""
        fetched_on: dict[str, date] = {}
        looked_at = float("-inf")
        while not self.stopping.is_set():
            await self.pause(UPKEEP_SECONDS)
            now, everything = self.clock.monotonic(), self._history_due
            if not everything and now - looked_at < HISTORY_CHECK_SECONDS:
                continue
            looked_at, self._history_due = now, False
            for symbol, feed in self._feeds.items():
                if self.stopping.is_set() or not self._link_up or not feed.full or symbol not in self._contracts:
                    continue
                today = self.clock.session_date()
                if not everything and not feed.bars.hole and fetched_on.get(symbol) == today:
                    continue
                try:
                    await self._fetch(symbol, feed)
                    fetched_on[symbol] = today
                except lookup.LookupFailedError as error:
                    self.health.count("history_missing")
                    self.log.warning("history_missing", symbol=symbol, reason=str(error))
                except (ConnectionError, TimeoutError) as error:
                    self.log.warning("history_interrupted", symbol=symbol, reason=str(error) or type(error).__name__)
                    await self.pause(1.0)

    async def _fetch(self, symbol: str, feed: SymbolFeed) -> None:
        contract = self._contracts[symbol].contract
        minutes = await lookup.bars(self._ib, contract, duration="2 D", size="1 min")
        feed.bars.load(minutes, self.clock.market_ns())
        days = await lookup.bars(self._ib, contract, duration="61 D", size="1 day")
        today = self.clock.session_date()
        before = tuple(bar for bar in days if exchange_datetime(bar.ts_ns).date() < today)[-60:]
        batch = self.store.batch()
        batch.put(k.MARKET_HISTORY.at(symbol=symbol), feed.history())
        batch.put(k.MARKET_DAILY.at(symbol=symbol), Bars(symbol, self.clock.market_ns(), 86_400, before))
        await self.store.commit(batch)

    # -- upkeep ----------------------------------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        asked_at = self.clock.monotonic()
        while not self.stopping.is_set():
            await self.pause(UPKEEP_SECONDS)
            now = self.clock.monotonic()
            if self._subscriptions is not None and self._link_up:
                self._mend(self._subscriptions, now)
                missing = [i for symbol, i in self._instruments.items() if symbol not in self._contracts]
                new_day = self._qualified_on not in (None, self.clock.session_date())
                if new_day or (missing and now - asked_at >= RETRY_SECONDS):
                    asked_at = now
                    with contextlib.suppress(ConnectionError, TimeoutError):  # the connection itself tells of these
                        await self._qualify(list(self._instruments.values()) if new_day else missing)
            self._tell(now)

    def _mend(self, subscriptions: Subscriptions, now: float) -> None:
        """Asks anew for what is broken, and for what is silent though the market is open."""
        in_session = self.calendar.at(self.clock.market_ns()) is not None
        for symbol, feed in self._feeds.items():
            if feed.depth_broken and self._allocation.may_ask(MENDING, symbol, now):
                self._allocation.refused(MENDING, symbol, now, retry_seconds=MEND_SECONDS)
                feed.gap(f"depth resubscribed: {feed.depth_broken}", depth_only=True)
                subscriptions.reopen(Kind.DEPTH, symbol)
            if feed.ticks_broken:
                self.health.count("ticks_dead")
                subscriptions.close(Kind.TICKS, symbol)
                feed.set_ticks(False)
                self._allocation.refused(Kind.TICKS, symbol, now)
            if feed.alive(now) or not in_session or not subscriptions.is_open(Kind.QUOTE, symbol):
                self._silent.pop(symbol, None)
                continue
            since, times = self._silent.setdefault(symbol, (now, 0))
            if now - since > max(SILENT_SECONDS, feed.quiet_seconds) * 2**times:
                self._silent[symbol] = (now, min(times + 1, 5))
                self.log.warning("silent_line", symbol=symbol, times=times + 1)
                feed.gap("silent: resubscribed")
                for kind in Kind:
                    subscriptions.reopen(kind, symbol)

    def _tell(self, now: float) -> None:
        feeds = self._feeds.items()
        self.health.fact("age_seconds", {s: None if f.heard is None else round(now - f.heard, 1) for s, f in feeds})
        gateway = self._connection.gateway
        self.health.fact("gateway", f"{gateway.host}:{gateway.port}" if gateway else None)
        self.health.fact("slots", dict(self._subscriptions.counts()) if self._subscriptions else {})
        self.health.fact("refused_frames", self._frames_refused + self._connection.decode_errors)
        self.health.fact("refused_values", sum(sum(f.refused.values()) for _, f in feeds))
        self.health.fact("last_refused_values", [f.last_refusal for _, f in feeds if f.last_refusal])
        self.health.fact("gaps", sum(f.gaps for _, f in feeds))
        missing = [symbol for symbol in self._instruments if symbol not in self._contracts]
        down = [farm for farm, since in self._broken_farms.items() if now - since > FARM_SECONDS]
        if not self._connection.connected:
            self.health.waiting(f"no gateway: {self._connection.problem}")
        elif not self._link_up:
            self.health.waiting("the gateway has lost its link to the broker")
        elif missing or down:
            self.health.degraded(f"no contract for {', '.join(missing)}" if missing else f"farms down: {', '.join(down)}")
        else:
            self.health.ready()


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    """Runs all until all are done; the first that fails ends the others and is raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
