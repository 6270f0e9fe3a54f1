"""PositionManager: what is held, what it is worth, and how it should end.

Reads `ledger:fills` (the truth, whole at every start), `events:fills`, `events:account`, `ledger:approvals` (the plan of a
position) and `quotes:{con_id}` of what it holds; writes `positions:*`, `global:positions:count`, `global:pnl:*`,
`exits:{position}`, `ledger:trades` and `ledger:adjustments` (both journalled), `wanted:positions` and `events:positions`. It
sends nothing to the broker: execution makes the wanted exits so. Started by the Procfile line `positions`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.messages.contracts import ContractQuote, Wanted
from alphatrader.contract.messages.orders import Account, Fill
from alphatrader.contract.messages.positions import (
    ClosedTrade,
    Count,
    Pnl,
    Position,
    PositionEvent,
    PositionsSummary,
    WantedExit,
)
from alphatrader.contract.modules import Module
from alphatrader.core.positions import exits, marking, reconciliation, records
from alphatrader.core.positions.booking import Booked
from alphatrader.core.positions.ledger import BadFillError, Ledger
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.context import Context
from alphatrader.runtime.cursor import Cursor, Entry
from alphatrader.runtime.journal import Journal, Line
from alphatrader.runtime.module import StreamModule
from alphatrader.runtime.quotes import Quotes

STREAMS: Final = (k.EVENTS_FILLS.at(), k.EVENTS_ACCOUNT.at())
LEAST_WAIT: Final = 0.01


class PositionManager(StreamModule):
    name = Module.POSITIONS
    needs = (Server.STATE,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._patience = self.settings.positions.reconcile_seconds
        self._trailing = exits.Trailing(
            Decimal(str(self.settings.positions.trail_after_r)), Decimal(str(self.settings.positions.trail_share))
        )
        self._journal = Journal(self.data_dir, self.name)
        self._quotes = Quotes(self.store, self.clock, self.health)
        self._clear()

    def _clear(self) -> None:
        self._ledger = Ledger()
        self._lines: list[Line] = []
        """Of this turn, for the journal."""
        self._adjustments: dict[str, Fill] = {}
        self._positions: dict[str, Position] = {}
        self._exits: dict[str, WantedExit] = {}
        self._trades: dict[str, ClosedTrade] = {}
        self._account: Account | None = None
        self._reconciler = reconciliation.Reconciler(self._patience)
        self._wanted: frozenset[int] | None = None
        self._history: dict[str, Decimal] = {}
        """Closed and dropped in an earlier session -> what it realized."""
        self._new_fills: set[int] = set()
        """Contracts with executions that came since we last agreed with the broker."""
        self._cursor = Cursor.at_end(STREAMS)

    # -- recovery

    async def recover(self) -> None:
        self._clear()
        self.health.waiting("rebuilding from all fills")
        self._cursor = await self.store.saved_cursor(Cursor.at_end(STREAMS))
        # Read before the ledgers, so that nothing falls between them and a stream that was never read.
        backlog = await self.store.read(self._cursor, block_seconds=None)
        self._adjustments = await self.store.fields(k.LEDGER_ADJUSTMENTS.at())
        self._trades = await self.store.fields(k.LEDGER_TRADES.at())
        await self._read_ledger()
        records_kept = await self.store.get_many([bound async for bound in self.store.scan(k.POSITIONS)])
        exits_kept = await self.store.get_many([bound async for bound in self.store.scan(k.EXITS)])
        self._positions = {record.id: record for record in records_kept if record is not None}
        self._exits = {wanted.position_id: wanted for wanted in exits_kept if wanted is not None}
        latest = await self.store.latest(k.EVENTS_ACCOUNT.at())
        self._hear(backlog)
        self._hear_account(latest[0] if latest else None)
        await self._turn()
        self.log.info("recovered", positions=len(self._open()), trades=len(self._trades))

    async def _read_ledger(self) -> None:
        """Every fill there is: what the stream may have missed, too."""
        fills = await self.store.fields(k.LEDGER_FILLS.at())
        for fill in (*fills.values(), *self._adjustments.values()):
            self._hear_fill(fill)

    def _hear_fill(self, fill: Fill) -> bool:
        try:
            changed = self._ledger.hear(fill)
        except BadFillError as error:
            self._refuse(str(error))
            return False
        if changed and fill.key not in self._adjustments:
            self._new_fills.add(fill.con_id)
        return changed

    def _refuse(self, reason: str) -> None:
        self.health.count("refused fills")
        self.log.error("fill_refused", reason=reason)

    # -- the loop

    async def run(self) -> None:
        due = 0.0
        while not self.stopping.is_set():
            wait = min(1.0, max(LEAST_WAIT, due - self.clock.monotonic()))
            entries = await self.store.read(self._cursor, block_seconds=wait)
            booked = self._hear(entries)
            if booked or self.clock.monotonic() >= due:
                due = self.clock.monotonic() + self.settings.positions.publish_seconds
                await self._turn()

    def _hear(self, entries: list[Entry[Any]]) -> bool:
        """Takes in what came; says whether a booking changed."""
        changed = False
        for entry in entries:
            if isinstance(entry.event, Account):
                self._hear_account(entry.event)
                continue
            self.health.count("fills")
            changed = self._hear_fill(entry.event) or changed
        return changed

    def _hear_account(self, account: Account | None) -> None:
        self._account = account
        for held in account.positions if account else ():
            if held.contract is not None and held.con_id > 0:
                self._ledger.name(held.con_id, held.contract)

    async def _turn(self) -> None:
        """Settles with the broker, marks, plans, writes: all of it in one MULTI, with the place in the streams."""
        now_ns = self.clock.market_ns()
        batch = self.store.batch()
        comparison = self._reconciler.compare(self._ledger.quantities(), self._account, self.clock.machine_ns())
        if comparison.standing:
            await self._settle(batch, comparison.standing, now_ns)
            comparison = self._reconciler.compare(self._ledger.quantities(), self._account, self.clock.machine_ns())
        elif not comparison.differences:
            self._new_fills.clear()
        books = self._ledger.positions()
        quotes = await self._quotes.of(sorted({held.con_id for held in books.values() if held.quantity}))
        for held in books.values():
            await self._update(batch, held, quotes.get(held.con_id), now_ns)
        self._drop_closed(batch, now_ns)
        self._summarise(batch, books, comparison, now_ns)
        self._want_quotes(batch)
        self._cursor.keep(batch, self.name)
        await self._write_journal()
        await self.store.commit(batch)
        self._say_health(comparison)

    async def _write_journal(self) -> None:
        """Before Redis hears of it. A disk that takes nothing must not stop the watch over positions: it is counted and told."""
        try:
            await self._journal.append(self._lines)
            self._lines = []
        except OSError as error:
            self.health.count("journal_failed")
            self.log.error("journal_failed", error=str(error))

    async def shut(self) -> None:
        self._journal.close()

    # -- one position

    async def _update(self, batch: Batch, held: Booked, quote: ContractQuote | None, now_ns: int) -> None:
        before, last = self._positions.get(held.id), self._exits.get(held.id)
        if before is None and (self._history.get(held.id) == held.realized or self._is_history(held, now_ns)):
            return
        result = (held.realized, held.commissions_known)
        told = before is not None and before.status == "closed" and (before.realized, before.commissions_known) == result
        if told and held.quantity == 0 and held.id in self._trades:
            return
        approval = None
        if before is None and not held.external:
            approval = await self.store.field(k.LEDGER_APPROVALS.at(), held.id)
            if approval is None:
                self.log.warning("position_without_approval", position=held.id, con_id=held.con_id)
        # What is pulled after the close leaves a quote that says nothing, and the next day's result starts from the last mark.
        price = marking.mid(quote) if marking.firm(quote) or self.calendar.at(now_ns) is not None else None
        age_ms = round((self.clock.machine_ns() - quote.machine_ns) / 1e6, 1) if quote is not None else None
        record = records.position(held, approval, before, records.Mark(price, age_ms), last)
        if not held.external:
            record, last = self._plan(batch, record, last, quote, now_ns)
        self._positions[held.id] = record
        batch.put(k.POSITIONS.at(symbol=record.symbol, id=record.id), record)
        kind = records.change(before, record)
        self._keep_trade(batch, held, record, last)
        if kind is not None:
            batch.append(k.EVENTS_POSITIONS.at(), records.closing_event(record, held, now_ns, kind))
            self.health.count(kind)
            self.log.info(
                f"position_{kind}",
                position=record.id,
                quantity=record.quantity,
                realized=record.realized,
            )

    def _is_history(self, held: Booked, now_ns: int) -> bool:
        """Closed, told and dropped in an earlier session."""
        told = self._trades.get(held.id)
        if held.closed_ns is None or told is None or told.closed_ns != held.closed_ns or told.pnl != held.realized:
            return False
        if self._session(held.closed_ns) == self._session(now_ns):
            return False
        self._history[held.id] = held.realized
        return True

    def _plan(
        self, batch: Batch, record: Position, last: WantedExit | None, quote: ContractQuote | None, now_ns: int
    ) -> tuple[Position, WantedExit | None]:
        judged = record if marking.firm(quote) else replace(record, mark=None)
        wish = exits.plan(
            judged,
            last,
            flat_reason=self._flat_reason(record, now_ns),
            trailing=self._trailing,
            tick=marking.tick(quote),
            bid=Decimal(str(quote.bid)) if quote is not None and judged.mark is not None else None,
        )
        wanted = exits.wanted(record, wish, last, self.clock.machine_ns())
        stop = record.stop if wish.hold == 0 else wish.stop
        record = replace(record, stop=stop, targets_hit=wish.targets_hit, best_mark=wish.best_mark)
        if record.status == "open" and wish.hold == 0:
            record = replace(record, status="closing")
        if wanted is None:
            return record, last
        self._exits[record.id] = wanted
        batch.put(k.EXITS.at(position=record.id), wanted)
        batch.append(k.EVENTS_POSITIONS.at(), PositionEvent(kind="exit", position=record, ts_ns=now_ns, reason=wanted.reason))
        self.log.info("exit_wanted", position=record.id, hold=wanted.hold, stop=wanted.stop, reason=wanted.reason)
        return record, wanted if wanted.hold or record.quantity else last

    def _flat_reason(self, record: Position, now_ns: int) -> str | None:
        """What expires in this session must be flat by the set time, which moves with an early close."""
        session = self.calendar.current(now_ns)
        if record.contract.expiry > session.name.replace("-", ""):
            return None
        _, flat_ns = session.window(session.opens, self.settings.positions.flat_by)
        return f"time: expires today, flat by {self.settings.positions.flat_by}" if now_ns >= flat_ns else None

    def _keep_trade(self, batch: Batch, held: Booked, record: Position, wanted: WantedExit | None) -> None:
        known = self._trades.get(held.id)
        if record.status != "closed":
            if known is not None:
                del self._trades[held.id]
                batch.drop_field(k.LEDGER_TRADES.at(), held.id)
                self._lines.append(Line("trade", self.clock.machine_ns(), dropped=held.id))
            return
        closed = records.trade(record, held, wanted, self._session)
        if known is not None and known.closed_ns == closed.closed_ns:
            closed = replace(closed, reason=known.reason)
        if closed != known:
            self._trades[held.id] = closed
            batch.put_field(k.LEDGER_TRADES.at(), held.id, closed)
            self._lines.append(Line("trade", self.clock.machine_ns(), trade=closed))

    def _drop_closed(self, batch: Batch, now_ns: int) -> None:
        """A closed position stays to be seen until its session ends; `ledger:trades` keeps it for good."""
        today = self._session(now_ns)
        for record in list(self._positions.values()):
            if record.closed_ns is not None and record.status == "closed" and self._session(record.closed_ns) != today:
                del self._positions[record.id]
                self._exits.pop(record.id, None)
                batch.drop(k.POSITIONS.at(symbol=record.symbol, id=record.id))
                batch.drop(k.EXITS.at(position=record.id))

    # -- the broker's word

    async def _settle(self, batch: Batch, standing: tuple[reconciliation.Difference, ...], now_ns: int) -> None:
        """Takes the broker's word for what stays different, after a last look at the ledger of fills."""
        await self._read_ledger()
        held = self._ledger.quantities()
        for difference in standing:
            if held.get(difference.con_id, 0) != difference.ours or self._account is None:
                continue
            late = difference.con_id in self._new_fills
            outdated = reconciliation.outdated(difference, self._adjustments.values()) if late else []
            for fill in outdated:
                self._ledger.forget(fill)
                del self._adjustments[fill.key]
                batch.drop_field(k.LEDGER_ADJUSTMENTS.at(), fill.key)
                self._lines.append(Line("adjustment", self.clock.machine_ns(), dropped=fill.key))
                self.log.warning("adjustment_withdrawn", con_id=fill.con_id, why=fill.exec_id)
            if not outdated:
                self._adjust(batch, difference, now_ns)

    def _adjust(self, batch: Batch, difference: reconciliation.Difference, now_ns: int) -> None:
        contract = self._ledger.contract(difference.con_id)
        session = self.calendar.current(now_ns)
        today = session.name.replace("-", "")
        expired = contract is not None and (contract.expiry < today or (contract.expiry == today and now_ns >= session.close_ns))
        marks = [p.mark for p in self._positions.values() if p.contract.con_id == difference.con_id and p.mark is not None]
        for fill in reconciliation.settled(
            difference,
            contract,
            account=self._account.account if self._account else "",
            mark=marks[0] if marks else None,
            expired=expired,
            ts_ns=now_ns,
        ):
            self._adjustments[fill.key] = fill
            self._ledger.hear(fill)
            batch.put_field(k.LEDGER_ADJUSTMENTS.at(), fill.key, fill)
            self._lines.append(Line("adjustment", self.clock.machine_ns(), fill=fill))
            self.health.count(fill.exec_id)
            self.log.warning("settled_with_broker", con_id=fill.con_id, side=fill.side, quantity=fill.quantity, why=fill.exec_id)

    # -- all of them

    def _summarise(self, batch: Batch, books: dict[str, Booked], comparison: reconciliation.Comparison, now_ns: int) -> None:
        held = self._open()
        session = self._session(now_ns)
        unrealized = records.total(position.unrealized for position in held)
        since_ns = self.calendar.next(self.calendar.current(now_ns), -1).close_ns
        realized = records.realized_in(books.values(), session, self._session, since_ns)
        by_symbol: dict[str, int] = {}
        for position in held:
            by_symbol[position.symbol] = by_symbol.get(position.symbol, 0) + 1
        value = records.total(p.mark * p.quantity * p.contract.multiplier if p.mark is not None else None for p in held)
        summary = PositionsSummary(
            ts_ns=now_ns,
            open=len(held),
            by_symbol=by_symbol,
            realized_today=realized,
            unrealized=unrealized,
            market_value=value,
            reconciled=comparison.reconciled,
            differences=comparison.differences,
            machine_ns=self.clock.machine_ns(),
            shorts=self._shorts(),
        )
        batch.put(k.POSITIONS_SUMMARY.at(), summary)
        batch.put(k.POSITIONS_COUNT.at(), Count(value=len(held), ts_ns=now_ns))
        batch.put(k.PNL_REALIZED.at(), Pnl(value=realized, session=session, ts_ns=now_ns))
        batch.put(k.PNL_UNREALIZED.at(), Pnl(value=unrealized, session=session, ts_ns=now_ns))

    def _want_quotes(self, batch: Batch) -> None:
        held = {p.contract.con_id: p.contract for p in self._open() if p.contract.con_id is not None}
        if self._wanted != frozenset(held):
            self._wanted = frozenset(held)
            batch.put(k.WANTED.at(module=self.name), Wanted(contracts=tuple(held.values()), machine_ns=self.clock.machine_ns()))

    def _open(self) -> list[Position]:
        return [position for position in self._positions.values() if position.status != "closed"]

    def _shorts(self) -> tuple[str, ...]:
        short = [position for position in self._open() if position.quantity < 0]
        return tuple(f"{position.id}, conId {position.contract.con_id}: {position.quantity}" for position in short)

    def _session(self, ts_ns: int) -> str:
        return self.calendar.current(ts_ns).name

    def _say_health(self, comparison: reconciliation.Comparison) -> None:
        shorts = self._shorts()
        unnamed = self._ledger.unnamed()
        self.health.fact("differences", list(comparison.differences))
        self.health.fact("open", len(self._open()))
        if self._account is None or not self._account.confirmed:
            self.health.waiting(comparison.differences[0], Module.EXECUTION)
        elif not comparison.reconciled:
            self.health.degraded("; ".join(comparison.differences) or "not reconciled")
        elif shorts:
            self.health.degraded(f"more was sold than held, nothing opens: {'; '.join(shorts)}")
        elif unnamed:
            self.health.degraded(f"fills of contracts that are no options: conId {', '.join(map(str, unnamed))}")
        else:
            self.health.ready()
