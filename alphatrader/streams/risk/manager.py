"""RiskManager: says yes or no to each signal, one after the other, and keeps the lease.

Reads `events:signals`, `events:orders`, `events:fills`, `events:account`, `events:positions`, `events:halt`, `control:*`, and at
each turn `global:halt`, `global:buying_power`, `positions:summary`, `global:pnl:*`. Writes `events:approvals` and
`ledger:approvals`, `ledger:risk` (its books, with the place in the streams, in one MULTI), `lease`, and `control:risk` when a
limit latches; `global:risk:*` through measures.py.
Started by the Procfile line `risk`; one process, so that places are granted one by one.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace as with_fields
from decimal import Decimal
from typing import Any, Final

from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey, Server
from alphatrader.contract.messages.orders import Account, Fill, OrderEvent
from alphatrader.contract.messages.positions import ClosedTrade, Position, PositionEvent
from alphatrader.contract.messages.risk import ControlRequest, Halt, HaltEvent, Lease
from alphatrader.contract.messages.signals import Signal, SignalEvent
from alphatrader.contract.modules import Module
from alphatrader.core.risk import state, verdict
from alphatrader.core.risk.followed import Followed
from alphatrader.core.risk.picture import Picture
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.context import Context
from alphatrader.runtime.cursor import Cursor, Entry
from alphatrader.runtime.journal import Journal, Line
from alphatrader.runtime.module import StreamModule, end_tasks
from alphatrader.runtime.store import StoreLost
from alphatrader.streams.risk.measures import EVERY_SECONDS, Measures

REQUESTERS: Final = (Module.DASHBOARD, Module.TELEGRAM, Module.CLI, Module.WATCHDOG)
STREAMS: Final[tuple[BoundKey[Any], ...]] = (
    k.EVENTS_SIGNALS.at(),
    k.EVENTS_ORDERS.at(),
    k.EVENTS_FILLS.at(),
    k.EVENTS_ACCOUNT.at(),
    k.EVENTS_POSITIONS.at(),
    k.EVENTS_HALT.at(),
    *(k.CONTROL.at(module=module) for module in REQUESTERS),
)
SAID_BY: Final = {"account": Module.EXECUTION, "unknown orders": Module.EXECUTION, "positions": Module.POSITIONS}
"""Whose word a limit is measured by: while they are ill, its failing is their illness, not ours."""
LEAST_WAIT: Final = 0.01
STANDS_SECONDS: Final = 3.0
"""A breach by marks refuses at once and latches when it has stood so long: a quote of which a side was pulled for a moment must
not end the day."""
PEAK_SECONDS: Final = 60.0
"""How often a rising peak of equity is journalled."""
MISCOUNTS: Final = 3
"""Turns in a row that may find another number of positions than we hold before they are read anew."""


class RiskManager(StreamModule):
    name = Module.RISK
    needs = (Server.STATE,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._limits = self.settings.risk
        self._journal = Journal(self.data_dir, self.name)
        self._journalled: tuple[Any, ...] = ()
        self._peak_due = 0.0
        self._version = verdict.limits_version(self._limits)
        rate = self.settings.options.risk_free_rate
        self._measures = Measures(self.store, self.clock, self.calendar, rate, lambda: self._followed.positions.values())
        self._clear()

    def _clear(self) -> None:
        self._state = state.first("", 0)
        self._followed = Followed()
        self._account: Account | None = None
        self._signals_fence = 0
        self._halted = True
        """Whether a halt stood at the last look."""
        self._newest_halt: Halt | None = None
        self._breached_since: float | None = None
        self._miscounts = 0
        self._cursor = Cursor.at_end(STREAMS)
        self._backlog: list[Entry[Any]] = []

    # -- recovery

    async def recover(self) -> None:
        self._clear()
        self.health.waiting("reading its books")
        now_ns = self.clock.market_ns()
        known = await self.store.get(k.RISK_STATE.at())
        self._state = known or state.first(self.calendar.current(now_ns).name, now_ns)
        self._cursor = await self.store.saved_cursor(Cursor.at_end(STREAMS))
        # Read before the ledgers, so that nothing falls between them and a stream that was never read.
        self._backlog = await self.store.read(self._cursor, block_seconds=None)
        for record in (await self.store.fields(k.LEDGER_ORDERS.at())).values():
            self._followed.hear_order(record, self._state.reservations)
        for fill in (await self.store.fields(k.LEDGER_FILLS.at())).values():
            self._followed.hear_fill(fill, self._state.reservations)
        self._followed.trades = await self.store.fields(k.LEDGER_TRADES.at())
        await self._read_positions()
        halt = await self.store.get(k.HALT.at())
        self._halted = halt is None or halt.halted
        latest = await self.store.latest(k.EVENTS_ACCOUNT.at())
        self._account = latest[0] if latest else None
        self.log.info("recovered", session=self._state.session, reservations=len(self._state.reservations))

    async def _read_positions(self) -> None:
        records = await self.store.get_many([bound async for bound in self.store.scan(k.POSITIONS)])
        self._followed.positions = {record.id: record for record in records if record is not None}

    # -- the loop

    async def run(self) -> None:
        measuring = asyncio.create_task(self._measure(self._measures), name="measures")
        try:
            await self._judge()
        finally:
            await end_tasks((measuring,), self.log)

    async def _measure(self, measures: Measures) -> None:
        """Whatever goes wrong with a measure, permission to trade does not hang on it."""
        while not self.stopping.is_set():
            try:
                await measures.tell()
            except StoreLost as error:
                self.log.warning("measures_not_written", error=str(error))
            except Exception:
                self.health.count("measures_failed")
                self.log.exception("measures_failed")
            await self.pause(EVERY_SECONDS)

    async def _judge(self) -> None:
        await self._turn(await self._hear(self._backlog))
        due = self.clock.monotonic() + self._limits.lease_renew_seconds
        while not self.stopping.is_set():
            wait = min(1.0, max(LEAST_WAIT, due - self.clock.monotonic()))
            entries = await self.store.read(self._cursor, block_seconds=wait)
            signals = await self._hear(entries)
            if entries or self.clock.monotonic() >= due:
                due = self.clock.monotonic() + self._limits.lease_renew_seconds
                await self._turn(signals)

    async def shut(self) -> None:
        """Takes the permission back at once; without these words it would lapse by itself."""
        self._journal.close()
        if self.fence:
            batch = self.store.batch()
            batch.put(k.LEASE.at(), self._lease("risk is stopping", None))
            await self.store.commit(batch)

    # -- read

    async def _hear(self, entries: list[Entry[Any]]) -> list[Signal]:
        """Takes in what came, in each stream's order, requests before what was made of them. Returns the new signals."""
        signals = []
        requests_first = sorted(entries, key=lambda entry: not isinstance(entry.event, ControlRequest))
        for event in (entry.event for entry in requests_first):
            match event:
                case ControlRequest(kind="halt" | "flatten"):
                    self._state = state.stopped(self._state, event, halted=self._halted)
                    self.log.warning("stop_obeyed", by=event.by, reason=event.reason)
                case HaltEvent():
                    self._state = state.heard_halt(self._state, event)
                case Account():
                    self._account = event
                case OrderEvent():
                    self._followed.hear_order(event.record, self._state.reservations)
                case Fill():
                    self._followed.hear_fill(event, self._state.reservations)
                case PositionEvent():
                    await self._hear_position(event.position)
                case SignalEvent(kind="new"):
                    signals.append(event.signal)
        return signals

    async def _hear_position(self, position: Position) -> None:
        trade: ClosedTrade | None = None
        if position.status == "closed":
            trade = await self.store.field(k.LEDGER_TRADES.at(), position.id)
        self._followed.hear_position(position, trade)

    # -- decide and write

    async def _turn(self, signals: list[Signal]) -> None:
        batch = self.store.batch()
        picture = await self._look()
        self._free_places(picture)
        picture = self._with_state(picture)
        picture = self._latch(batch, picture)
        for signal in {verdict.intent_id(signal.id): signal for signal in signals}.values():
            picture = await self._decide(batch, picture, signal)
        reason = verdict.without_lease(picture, self._limits)
        batch.put(k.LEASE.at(), self._lease(reason, picture))
        limits = verdict.in_words(picture, self._limits)
        self._state = replace(self._state, limits=limits, ts_ns=picture.ts_ns)
        batch.put(k.RISK_STATE.at(), self._state)
        self._cursor.keep(batch, self.name)
        await self._write_journal(picture.machine_ns)
        await self.store.commit(batch)
        self._say_health(reason, limits)
        await self._recount(picture)

    async def _write_journal(self, machine_ns: int) -> None:
        """What the limits are measured against, when it has changed; a peak that only rises once a minute."""
        books = self._state
        marks = (books.session, books.opening_equity, books.starting_equity, books.consecutive_losses, books.latched)
        now = self.clock.monotonic()
        if self._journalled == (*marks, books.peak_equity) or (self._journalled[:-1] == marks and now < self._peak_due):
            return
        try:
            await self._journal.append([Line("risk", machine_ns, risk=books)])
        except OSError as error:
            self.health.count("journal_failed")
            self.log.error("journal_failed", error=str(error))
            return
        self._journalled, self._peak_due = (*marks, books.peak_equity), now + PEAK_SECONDS

    async def _look(self) -> Picture:
        """All that is known now, and the day's books brought up to it."""
        bounds: list[Any] = [
            k.HALT.at(),
            k.BUYING_POWER.at(),
            k.POSITIONS_SUMMARY.at(),
            k.PNL_REALIZED.at(),
            k.PNL_UNREALIZED.at(),
        ]
        halt, buying_power, summary, realized, unrealized = await self.store.get_many(bounds)
        halt = state.never_back(self._newest_halt, halt)
        self._newest_halt = halt or self._newest_halt
        now_ns, machine_ns = self.clock.market_ns(), self.clock.machine_ns()
        session = self.calendar.current(now_ns)
        if self._state.session != session.name and now_ns >= session.open_ns:
            self.log.info("session_rolled", session=session.name, latch_cleared=self._state.latched)
            self._state = state.rolled(self._state, session.name, now_ns)
        account = self._account
        if account and account.confirmed and machine_ns - account.machine_ns <= self._limits.max_account_age_seconds * 1e9:
            self._state = state.with_equity(self._state, account.net_liquidation)
        if halt is not None:
            self._state = state.heard_halt(self._state, halt)
        self._halted = halt is None or halt.halted
        for pnl, field in ((realized, "realized_today"), (unrealized, "unrealized")):
            if pnl is not None and pnl.session == self._state.session and pnl.value is not None and pnl.value.is_finite():
                self._state = replace(self._state, **{field: pnl.value})
        losses = state.consecutive_losses(self._followed.trades.values(), self._state.session)
        self._state = replace(self._state, consecutive_losses=losses)
        by_strategy = self.settings.strategies
        windows = {
            "0DTE": by_strategy.zero_dte,
            "1DTE": by_strategy.one_dte,
            "14DTE": by_strategy.fourteen_dte,
            "MOC": by_strategy.moc,
        }
        return Picture(
            ts_ns=now_ns,
            machine_ns=machine_ns,
            session=session.name,
            session_open=session.contains(now_ns),
            flat_ns=session.window(session.opens, self.settings.positions.flat_by)[1],
            windows={name: session.window(w.opens, w.closes) for name, w in windows.items() if w.enabled},
            state=self._state,
            halt=halt,
            account=account,
            buying_power=buying_power,
            summary=summary,
            realized=realized,
            unrealized=unrealized,
            places={},
            pending_usd=Decimal(0),
            unknown_orders=(),
        )

    def _with_state(self, picture: Picture) -> Picture:
        """The picture with the places as our books have them now."""
        followed, reservations = self._followed, self._state.reservations
        return with_fields(
            picture,
            state=self._state,
            places=followed.places(reservations),
            pending_usd=followed.pending_usd(reservations),
            unknown_orders=followed.unknown_orders,
            bets=followed.bets(reservations),
            correlations=self._measures.correlations,
        )

    def _free_places(self, picture: Picture) -> None:
        reservations, seconds = self._state.reservations, self._limits.unclaimed_seconds
        summary = picture.summary
        reconciled = summary is not None and summary.reconciled and summary.open == self._followed.held
        freed = self._followed.free(reservations, picture.machine_ns, seconds, reconciled=reconciled)
        for intent_id, order in freed.items():
            self.log.info("place_freed", intent=intent_id, order=order.state if order else None)
        kept = {intent_id: reservation for intent_id, reservation in reservations.items() if intent_id not in freed}
        self._state = replace(self._state, reservations=kept)

    def _latch(self, batch: Batch, picture: Picture) -> Picture:
        """A breach refuses until the next session, and asks emergency to halt, once."""
        breach = verdict.breach(picture, self._limits)
        now = self.clock.monotonic()
        if breach is None:
            self._breached_since = None
        if breach is None or self._state.latched is not None:
            return picture
        if self._breached_since is None:
            self._breached_since = now
        if verdict.by_marks(breach) and now - self._breached_since < STANDS_SECONDS:
            return picture
        self._state = replace(self._state, latched=breach)
        limit = breach.partition(":")[0]
        request = ControlRequest(
            id=f"risk-{self._state.session}-{limit.replace(' ', '-')}",
            kind="halt",
            by=f"{limit} limit",
            reason=breach,
            machine_ns=picture.machine_ns,
            ts_ns=picture.ts_ns,
        )
        batch.append(k.CONTROL.at(module=self.name), request)
        self.health.count("latched")
        self.log.error("latched", limit=breach)
        return self._with_state(picture)

    async def _decide(self, batch: Batch, picture: Picture, signal: Signal) -> Picture:
        """One signal, one intent, one verdict, whatever is replayed."""
        intent_id = verdict.intent_id(signal.id)
        if intent_id in self._state.reservations or await self.store.field(k.LEDGER_APPROVALS.at(), intent_id) is not None:
            self.health.count("signals repeated")
            return picture
        if signal.fence < self._signals_fence:
            self.health.count("signals of an old instance")
            self.log.warning("signal_fenced_off", signal=signal.id, fence=signal.fence, newest=self._signals_fence)
            return picture
        self._signals_fence = signal.fence
        stamp = verdict.Stamp(self.fence, self._version)
        approval = verdict.decide(picture, self._limits, signal, stamp)
        batch.append(k.EVENTS_APPROVALS.at(), approval)
        batch.put_field(k.LEDGER_APPROVALS.at(), intent_id, approval)
        self.health.count("approved" if approval.approved else "refused")
        self.log.info("verdict", signal=signal.id, approved=approval.approved, reason=approval.reason)
        if approval.approved:
            reservation = verdict.reserved(approval, signal)
            self._state = replace(self._state, reservations={**self._state.reservations, intent_id: reservation})
        return self._with_state(picture)

    def _lease(self, reason: str | None, picture: Picture | None) -> Lease:
        return Lease(
            granted=reason is None,
            reason=reason,
            halt_epoch=picture.halt.epoch if picture and picture.halt else -1,
            machine_ns=self.clock.machine_ns(),
            fence=self.fence,
        )

    async def _recount(self, picture: Picture) -> None:
        """Our positions follow events; where `positions` counts others for several turns, they are read anew."""
        differs = picture.summary is not None and picture.summary.open != self._followed.held
        self._miscounts = self._miscounts + 1 if differs else 0
        if self._miscounts >= MISCOUNTS:
            await self._read_positions()
            self.health.count("positions read anew")

    def _say_health(self, reason: str | None, limits: dict[str, str]) -> None:
        self.health.fact("lease", reason or "granted")
        self.health.fact("reservations", len(self._state.reservations))
        for name, words in limits.items():
            self.health.fact(name, words)
        said_by = SAID_BY.get(reason.partition(":")[0]) if reason else None
        if reason is None:
            self.health.ready()
        elif reason.startswith(("halt:", "latch:", "unknown orders:")):
            self.health.degraded(reason, said_by)
        else:
            self.health.waiting(reason, said_by)
