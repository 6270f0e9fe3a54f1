"""`IBKRIngestion`: the broker's market data into Redis.

Reads the data connection to IB Gateway and `wanted:{module}`. Writes `market:{symbol}:*` and `events:market:{symbol}` for every
instrument of the settings, `quotes:{con_id}` and `contracts:options` for wanted contracts, `contracts:futures`, and history for
warm-up. The keys are renewed while their feed lives and left to expire otherwise. Every raw message goes to the audit log, and to
`audit:index` where the newest stand; from that log readers get what they missed (resending.py). Started by the Procfile line
`ibkr`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine
from random import Random
from typing import Any, Final

from alphatrader.clients.ibkr.connection import BrokerConnection
from alphatrader.clients.ibkr.framing import frame
from alphatrader.clients.ibkr.option_names import OptionNames
from alphatrader.clients.ibkr.subscriptions import Subscriptions
from alphatrader.clients.ibkr.wiretap import tap
from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.modules import Module
from alphatrader.core.market.contracts import Instrument, instruments, option_spec
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.link import Link, in_window
from alphatrader.core.market.slots import nearest
from alphatrader.core.market.status import Hours, MarketWide
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.context import Context
from alphatrader.runtime.module import StreamModule
from alphatrader.streams.ibkr import checkpoints, replaying
from alphatrader.streams.ibkr.answers import Answers
from alphatrader.streams.ibkr.contracts import Contracts
from alphatrader.streams.ibkr.history import History
from alphatrader.streams.ibkr.lines import Lines
from alphatrader.streams.ibkr.publishing import TURN_SECONDS, Publisher
from alphatrader.streams.ibkr.recording import FeedRecorder, ToldFeed, feed_of
from alphatrader.streams.ibkr.report import Report
from alphatrader.streams.ibkr.resending import Resending

WANTED_SECONDS: Final = 0.25
UPKEEP_SECONDS: Final = 0.5
INDEX_SECONDS: Final = 1.0
HELD: Final = (Module.POSITIONS, Module.EXECUTION)
"""Whose contracts come before everything else: money hangs on them."""
ASKING: Final = (Module.RISK, Module.SIGNALS)


class IBKRIngestion(StreamModule):
    """The only writer of market data."""

    name = Module.IBKR
    replay = staticmethod(replaying.replay)
    starts = staticmethod(checkpoints.starts)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        market, wire = self.settings.market, self.settings.broker
        self._instruments = {instrument.symbol: instrument for instrument in instruments(market)}
        self._audit = context.wire_log()
        self._recorder = FeedRecorder(self.clock, self.settings, str(self.name), self._audit)
        self._market_wide, self._spoken = MarketWide(), list[SymbolFeed]()
        self._feeds = {symbol: self._feed(instrument) for symbol, instrument in self._instruments.items()}
        self._contracts = Contracts(self, self._instruments, self._broker, self._on_rolled)
        self._names = OptionNames(option_spec, self._publish_name, self._tell_unlisted, self.clock.monotonic)
        self._lines = Lines(self, self._instruments, self._feeds, self._contracts, self._names)
        self._publisher = Publisher(market, self._feeds, self._spoken, self._lines.options, self._lines.stirred)
        self._history = History(self, self._feeds, self._contracts.listed, self._broker)
        self._link = Link(wire.link_lost_seconds)
        self._answers = Answers(self, self._link, self._lines)
        self._ib: Any = None
        self._gap_reason = "started"
        self._woken = asyncio.Event()
        self._unposted: deque[Batch] = deque()
        """Turns of the loop that the store could not take at once, in order."""
        self._frames_refused = 0
        self._checkpoint_due = 0.0
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
            prepare=self._prepare,
        )
        self._resending = Resending(self, self._audit)
        self._report = Report(self, self._feeds, self._connection, self._link, self._lines, self._contracts, self._audit)

    def _feed(self, instrument: Instrument) -> SymbolFeed:
        instants = self._recorder.instants
        market, wide = self.settings.market, self._market_wide
        feed: ToldFeed = feed_of(ToldFeed, instrument, market, instants, self._hours, wide, self._spoken)
        feed.tell = self._recorder.told
        return feed

    def _hours(self, ts_ns: int) -> Hours | None:
        """The session an instant belongs to; None outside the table, and then every check of regular hours is on."""
        session = self.calendar.known(ts_ns)
        if session is None:
            self.health.count("instants outside the calendar")
            return None
        return Hours(session.name, session.open_ns, session.close_ns)

    def _broker(self) -> Any:
        """Whom to ask; None while the link is down."""
        return self._ib if self._link.up else None

    # -- life ------------------------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Go on numbering where the streams end, and with the contracts the broker has named."""
        self._unposted.clear()
        await self._contracts.recover()
        for symbol, feed in self._feeds.items():
            newest = await self.store.latest(k.EVENTS_MARKET.at(symbol=symbol))
            feed.number_from(newest[0].seq if newest else 0)
        today = f"{self.clock.session_date():%Y%m%d}"
        known = await self.store.fields(k.CONTRACTS.at())
        self._names.known = {occ: ref for occ, ref in known.items() if ref.expiry >= today}
        if gone := known.keys() - self._names.known.keys():
            batch = self.store.batch()
            for occ in gone:
                batch.drop_field(k.CONTRACTS.at(), occ)
            await self.store.commit(batch)

    async def run(self) -> None:
        if self._audit is not None:
            self._audit.start()
        try:
            await _together(
                self._connection.run(self.stopping, self._on_connected, self._on_lost),
                self._publish(),
                self._follow_wanted(),
                self._keep_up(),
                self._contracts.run(),
                self._history.run(),
                self._index_audit(),
                *self._resending.work(),
            )
        finally:
            self._on_lost("the module stopped or lost its server")
            self._names.stop()

    async def shut(self) -> None:
        self._recorder.told("", "shut")
        if self._audit is not None:
            await asyncio.to_thread(self._audit.close)

    # -- the connection --------------------------------------------------------------------------------------------------

    def _prepare(self, ib: Any) -> None:
        self._answers.begin(ib)
        frame(ib)
        tap(ib, self._recorder)

    async def _on_connected(self, ib: Any) -> None:
        self._ib = ib
        ib.updateEvent += self._on_read
        for feed in self._feeds.values():
            feed.set_depth(False)
            feed.set_makers(False)
            feed.set_ticks(False)
            feed.gap(self._gap_reason)
        self._link.connected()
        told = self._recorder.told
        subscriptions = Subscriptions(ib, self.settings.market.depth_rows, self._refuse_frame, lambda *what: told("", *what))
        self._recorder.handled = lambda: subscriptions.handlers.handled
        told("", "begin")
        self._lines.begin(subscriptions)
        self._lines.assign(self.clock.monotonic())  # what was known before the reconnect need not wait for the answers
        await self._contracts.ask_for_all()
        self._lines.assign(self.clock.monotonic())
        self._history.due = True

    def _on_lost(self, reason: str) -> None:
        self._link.disconnected()
        self._gap_reason = f"reconnected: {reason}"
        self._lines.lose()

    def _on_read(self) -> None:
        """Everything of one network read is folded: it goes out in the same turn of the loop, in one write."""
        self._publisher.end_read()
        batch, machine_ns, now = self._turn(after_read=True)
        if self._unposted or not self.store.post_now(batch):
            self._unposted.append(batch)
            self._woken.set()
        self._recorder.wrote(batch.commands, machine_ns, now, after_read=True)  # nobody waits for it

    def _refuse_frame(self, why: str) -> None:
        self.health.count("frames_refused")
        self._frames_refused += 1
        if self._frames_refused < 20 or self._frames_refused % 1000 == 0:  # a broken gateway must not fill the disk
            self.log.warning("frame_refused", why=why, refused=self._frames_refused)

    # -- contracts -------------------------------------------------------------------------------------------------------

    def _on_rolled(self, symbol: str, reason: str) -> None:
        if self._lines.subscriptions is not None:
            self._lines.roll(symbol, reason)
            self._history.due = True

    async def _publish_name(self, ref: OptionRef) -> None:
        batch = self.store.batch()
        batch.put_field(k.CONTRACTS.at(), ref.occ, ref)
        await self.store.commit(batch)

    def _tell_unlisted(self, ref: OptionRef, reason: str) -> None:
        self.health.count("options_not_found")
        self.log.warning("option_not_found", occ=ref.occ, reason=reason)

    # -- its loops -------------------------------------------------------------------------------------------------------

    async def _follow_wanted(self) -> None:
        while not self.stopping.is_set():
            messages = await self.store.get_many([k.WANTED.at(module=module) for module in (*HELD, *ASKING)])
            wanted = [list(message.contracts) if message else [] for message in messages]
            held = [ref for refs in wanted[: len(HELD)] for ref in refs]
            asked = [ref for refs in wanted[len(HELD) :] for ref in refs]
            ib, today = self._broker(), f"{self.clock.session_date():%Y%m%d}"
            self._lines.wanted = (self._names.named(held, ib, today), self._names.named(asked, ib, today))
            self._lines.nearness = nearest(message.nearness for message in messages if message)
            if self._link.up:
                self._lines.assign(self.clock.monotonic())
            await self.pause(WANTED_SECONDS)

    async def _publish(self) -> None:
        while not self.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TURN_SECONDS):
                    await self._woken.wait()
            self._woken.clear()
            while self._unposted:
                await self.store.post(self._unposted.popleft())
            batch, machine_ns, now = self._turn(after_read=False)
            self._recorder.wrote(batch.commands, machine_ns, now, after_read=False)
            await self.store.post(batch)
            self._keep_checkpoint()

    def _keep_checkpoint(self) -> None:
        """Now and then, between two turns, while a connection stands and no part of a frame waits for its rest."""
        now, subscriptions = self.clock.monotonic(), self._lines.subscriptions
        if now < self._checkpoint_due or not self._link.up or subscriptions is None or self._ib.client._data:
            return
        if self._recorder.keep(self._feeds, subscriptions):
            self._checkpoint_due = now + self.settings.log.checkpoint_seconds

    def _turn(self, *, after_read: bool) -> tuple[Batch, int, float]:
        """What this turn writes, and when it was: machine time, monotonic seconds."""
        batch = self.store.batch()
        machine_ns, now = self._recorder.tick()
        self._publisher.add_to(batch, now, after_read=after_read)
        return batch, machine_ns, now

    async def _keep_up(self) -> None:
        link, lines = self._link, self._lines
        while not self.stopping.is_set():
            await self.pause(UPKEEP_SECONDS)
            now = self.clock.monotonic()
            if link.heard(max((feed.heard for feed in self._feeds.values() if feed.heard is not None), default=None)):
                lines.doubt(now)
            if link.take_retry(now):
                lines.renew("another session had the data: resubscribed", now, lost=False)
            if link.up and not link.competing:
                lines.mend(now)
            if link.hopeless(now) and not self._in_reset():
                self._connection.give_up(f"the link to the broker was lost for {self.settings.broker.link_lost_seconds:g} s")
            self._report.tell(now, in_reset=self._in_reset(), frames_refused=self._frames_refused)

    def _in_reset(self) -> bool:
        broker = self.settings.broker
        return in_window(f"{self.clock.market_datetime():%H:%M}", broker.reset_from, broker.reset_until)

    async def _index_audit(self) -> None:
        """Where the newest raw messages stand on disk, and what is missing there."""
        if self._audit is None:
            return
        told, dropped = self._audit.entry, self._audit.dropped
        while not self.stopping.is_set():
            await self.pause(INDEX_SECONDS)
            if (entry := self._audit.entry) is not None and entry is not told:
                told = entry
                batch = self.store.batch()
                batch.put(k.AUDIT_INDEX.at(), entry)
                await self.store.commit(batch)
            if self._audit.dropped > dropped:
                reason = self._audit.problem or "queue full"
                self.log.warning("audit_dropped", records=self._audit.dropped - dropped, reason=reason)
                dropped = self._audit.dropped


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
