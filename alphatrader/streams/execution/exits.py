"""Exits and protection: makes at the broker what `exits:{position}` wants, and keeps every holding under a confirmed stop.

Needs no permission: only a flatten epoch silences it, because then emergency closes. `core/orders/protection.py` decides.
"""

from __future__ import annotations

from dataclasses import replace as replaced
from decimal import Decimal
from typing import Final, Literal

from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.orders import OrderRecord
from alphatrader.contract.messages.positions import WantedExit
from alphatrader.contract.price_steps import step
from alphatrader.contract.settings import Settings
from alphatrader.core.orders import intents, refs
from alphatrader.core.orders.holdings import Holding, Holdings
from alphatrader.core.orders.pricing import Prices, Refused, cover_price, exit_price, to_tick
from alphatrader.core.orders.protection import (
    Action,
    BuyBack,
    Cancel,
    Case,
    Modify,
    PlaceExit,
    PlaceStop,
    decide,
    is_protected,
    live_protective_quantity,
    repriceable,
)
from alphatrader.core.orders.states import is_open
from alphatrader.runtime.calendar import Calendar
from alphatrader.streams.execution.desk import Desk

REPRICE_SECONDS: Final = 1.5
"""A patient exit asks for the mid no longer than that: a part that is for sale has no stop (invariants.md I13: 2 s)."""
PENNY: Final = Decimal("0.01")


class Exits:
    def __init__(self, desk: Desk, settings: Settings, calendar: Calendar) -> None:
        self._desk = desk
        self._collar = settings.orders.collar_share
        self._calendar = calendar
        self._wanted: dict[str, WantedExit] = {}
        self._unprotected_since: dict[str, float] = {}
        self._attempts: dict[str, tuple[int, float]] = {}
        self._by_contract = Holdings(desk.book.fills)
        self._folded: tuple[tuple[int, dict[int, int] | None], dict[str, Holding]] | None = None
        self.broker: dict[int, int] | None = None
        """Contract -> quantity, as the broker last said; None while that is not known."""

    # -- what is wanted

    async def read_all(self) -> None:
        """Every wanted exit, anew: after a crash, and now and then in case an event was missed."""
        found = [bound async for bound in self._desk.store.scan(k.EXITS)]
        wanted = await self._desk.store.get_many(found)
        self._wanted = {exit_.position_id: exit_ for exit_ in wanted if exit_ is not None}

    async def read(self, position_id: str) -> None:
        wanted = await self._desk.store.get(k.EXITS.at(position=position_id))
        if wanted is None:
            self._wanted.pop(position_id, None)
        else:
            self._wanted[position_id] = wanted

    def holdings(self) -> dict[str, Holding]:
        """What is held by intent; what the broker holds beyond all fills is the external position of its contract."""
        state = (self._desk.book.fills.version, self.broker)
        if self._folded is None or self._folded[0] != state:
            self._folded = (state, self._by_contract.held(self.broker))
        return dict(self._folded[1])

    # -- one turn

    async def turn(self) -> None:
        """One look at every intent that holds something or has orders."""
        desk = self._desk
        if not desk.settled or desk.flattening:
            self._unprotected_since.clear()
            return
        held = self._held()
        await self._want_quotes(held)
        for intent_id in {*held, *(record.intent_id for record in desk.book.open())}:
            await self._tend(intent_id)

    def _held(self) -> dict[str, Holding]:
        """What is held at this instant, with what the broker holds of contracts whose external position is to be tended."""
        held = self.holdings()
        for position_id, wanted in self._wanted.items():
            quantity = (self.broker or {}).get(wanted.contract.con_id or 0, 0)
            if position_id.startswith(refs.EXTERNAL) and position_id not in held and quantity > 0:
                con_id = wanted.contract.con_id or 0
                ours = sum(holding.quantity for holding in held.values() if holding.con_id == con_id)
                if quantity > ours:
                    held[position_id] = Holding(position_id, con_id, wanted.contract.symbol, wanted.contract, quantity - ours)
        return held

    def shorts(self) -> dict[str, int]:
        """Position -> contracts it is short, by all fills or by the broker's own list. While there is one, nothing opens."""
        found = {intent_id: -holding.quantity for intent_id, holding in self.holdings().items() if holding.quantity < 0}
        known = {holding.con_id for intent_id, holding in self.holdings().items() if intent_id in found}
        at_broker = {con_id: -quantity for con_id, quantity in (self.broker or {}).items() if quantity < 0}
        return found | {refs.external(con_id): short for con_id, short in at_broker.items() if con_id not in known}

    async def _want_quotes(self, held: dict[str, Holding]) -> None:
        contracts = {h.con_id: h.contract for h in held.values() if h.contract is not None}
        contracts |= {r.contract.con_id: r.contract for r in self._desk.book.open() if r.contract.con_id is not None}
        await self._desk.want_quotes(tuple(contracts[con_id] for con_id in sorted(contracts)))

    async def _tend(self, intent_id: str) -> None:
        desk = self._desk
        prices = await self._prices(self._contract(intent_id))
        # From here to the decision nothing is awaited: what is held and its orders are of one instant.
        holding, wanted = self._held().get(intent_id), self._wanted.get(intent_id)
        records = tuple(desk.book.of_intent(intent_id))
        ours = not intent_id.startswith(refs.EXTERNAL)
        if not ours and wanted is None and not records:
            return  # somebody's own trade: positions says what is wanted of it, if anything
        quantity = holding.quantity if holding else 0
        now = desk.clock.monotonic()
        case = Case(
            held=max(0, quantity),
            records=records,
            hold=wanted.hold if wanted else None,
            stop=self._stop(wanted, prices),
            unprotected_seconds=0.0,
            quiet_seconds=now - desk.last_change.get(intent_id, 0.0),
            ours=ours,
            short=max(0, -quantity) if ours or (wanted is not None and wanted.hold == 0) else 0,
            coverable=self._coverable(holding),
            unbooked=any(self._unbooked(record) for record in records),
        )
        case = self._timed(intent_id, case, now)
        actions = decide(case)
        for record, remaining in repriceable(case, actions):
            self._reprice(record, remaining, prices)
        for action in actions:
            await self._act(intent_id, action, holding, wanted, prices)

    def _contract(self, intent_id: str) -> OptionRef | None:
        holding = self._held().get(intent_id)
        return holding.contract if holding else None

    def _coverable(self, holding: Holding | None) -> int:
        """What may be bought back of a short: no more than the broker's list, younger than every execution, shows as short."""
        if holding is None or self.broker is None:
            return 0
        return max(0, min(-holding.quantity, -self.broker.get(holding.con_id, 0)))

    def _unbooked(self, record: OrderRecord) -> bool:
        """Whether it has filled by the broker's word alone, and no list of positions, younger than that word, bears the fills out
        as they are known: a correction may make them fewer than was ordered."""
        if record.state != "FILLED" or record.filled >= record.quantity:
            return False
        con_id = record.contract.con_id or 0
        return self.broker is None or self.broker.get(con_id, 0) > self._desk.book.fills.net().get(con_id, 0)

    def without_fills(self) -> list[OrderRecord]:
        """Orders whose executions are waited for before anything is done about their position."""
        return [record for record in self._desk.book.short_of_fills() if self._unbooked(record)]

    def _timed(self, intent_id: str, case: Case, now: float) -> Case:
        if case.held == 0 or case.unbooked or is_protected(case):
            self._unprotected_since.pop(intent_id, None)
            return case
        since = self._unprotected_since.setdefault(intent_id, now)
        return replaced(case, unprotected_seconds=now - since)

    @staticmethod
    def _stop(wanted: WantedExit | None, prices: Prices | None) -> Decimal | None:
        if wanted is None or wanted.stop is None or not wanted.stop.is_finite() or wanted.stop <= 0:
            return None
        if prices is not None:
            return prices.on_grid(wanted.stop, "nearest")
        return to_tick(wanted.stop, step(wanted.contract.symbol, PENNY, wanted.stop), "nearest")

    async def _prices(self, contract: object) -> Prices | None:
        con_id = getattr(contract, "con_id", None)
        if con_id is None:
            return None
        try:
            return self._desk.prices(await self._desk.quote(con_id), con_id)
        except Refused:
            return None

    # -- acting

    async def _act(
        self, intent_id: str, action: Action, holding: Holding | None, wanted: WantedExit | None, prices: Prices | None
    ) -> None:
        desk = self._desk
        match action:
            case Cancel(ref, reason):
                desk.cancel(desk.book.records[ref], reason)
            case Modify(ref, remaining, stop):
                record = desk.book.records[ref]
                desk.modify(record, quantity=record.filled + remaining, stop=stop)
            case PlaceStop(quantity, price):
                await self._place(
                    intent_id,
                    "stop",
                    quantity,
                    holding,
                    limit=None,
                    stop=price,
                    grouped=True,
                    prices=prices,
                    reason="its stop was gone",
                )
            case BuyBack(quantity):
                # Never at market: a short waits for a quote, which is asked for, and alarms meanwhile.
                if prices is None or self._calendar.at(desk.clock.market_ns()) is None:
                    return
                await self._place(
                    intent_id,
                    "exit",
                    quantity,
                    holding,
                    limit=cover_price(prices, 0, self._collar),
                    stop=None,
                    grouped=False,
                    prices=prices,
                    reason="more was sold than held",
                    side="BUY",
                )
            case PlaceExit(quantity, in_group, reason):
                if self._calendar.at(desk.clock.market_ns()) is None:
                    return
                urgent = wanted is None or wanted.urgency == "now" or reason not in ("exit", "reduce")
                limit = exit_price(prices, urgent, 0, self._collar) if prices else None
                why = wanted.reason if wanted and reason in ("exit", "reduce") else reason
                await self._place(
                    intent_id, "exit", quantity, holding, limit=limit, stop=None, grouped=in_group, prices=prices, reason=why
                )

    async def _place(
        self,
        intent_id: str,
        role: str,
        quantity: int,
        holding: Holding | None,
        *,
        limit: Decimal | None,
        stop: Decimal | None,
        grouped: bool,
        prices: Prices | None,
        reason: str,
        side: Literal["BUY", "SELL"] = "SELL",
    ) -> None:
        """Writes the record, then sends: as every order, so that a crash between the two can be seen."""
        desk = self._desk
        if holding is None or holding.contract is None or not desk.orders.ready:
            return
        parent = desk.book.records.get(intent_id)
        day = f"{self._calendar.current(desk.now().ts_ns).day:%Y%m%d}"
        record = intents.child(
            parent,
            ref=refs.child(intent_id, role, desk.book.records),  # type: ignore[arg-type]
            intent_id=intent_id,
            role=role,  # type: ignore[arg-type]
            contract=holding.contract,
            quantity=quantity,
            limit=limit,
            stop=stop,
            tif=intents.life(holding.contract, day) if role == "stop" else "DAY",
            oca_group=self._group(intent_id) if grouped else "",
            mid=prices.mid if prices else None,
            now=desk.now(),
            fence=desk.fence,
            reason=reason,
            side=side,
        )
        desk.book.put(replace(record, order_id=desk.next_order_id(), client_id=desk.client_id))
        await desk.flush()
        if desk.flattening or not desk.settled:
            desk.book.change(record.id, desk.now(), state="EXPIRED", reason="flattening, or the link was lost before it was sent")
            return
        if not self._fits(desk.book.records[record.id]):
            desk.book.change(record.id, desk.now(), state="EXPIRED", reason="what is held changed before it was sent")
            return
        try:
            desk.send(record.id)
        except ConnectionError as error:
            desk.book.change(record.id, desk.now(), state="EXPIRED", reason=str(error))
            return
        desk.log.info("exit_sent", order=record.id, role=role, quantity=quantity, limit=str(limit), stop=str(stop), reason=reason)
        self._attempts[record.id] = (0, desk.clock.monotonic())

    def _fits(self, record: OrderRecord) -> bool:
        """Whether the order closes no more than is held at this instant: fills may have come while it was written."""
        holding = self._held().get(record.intent_id)
        if record.side == "BUY":
            return record.quantity <= self._coverable(holding)
        beside = () if record.oca_group else tuple(self._desk.book.of_intent(record.intent_id))
        selling = max(record.quantity, live_protective_quantity(beside))
        return selling <= (holding.quantity if holding else 0)

    def _group(self, intent_id: str) -> str:
        """The group of the intent's live orders, as the broker names it."""
        live = [record.oca_group for record in self._desk.book.of_intent(intent_id) if is_open(record.state) and record.oca_group]
        return live[0] if live else intents.group(intent_id)

    def _reprice(self, record: OrderRecord, remaining: int, prices: Prices | None) -> None:
        """An exit that does not fill follows the market, a tick further each time. `remaining`: what should go on working."""
        desk = self._desk
        attempt, since = self._attempts.setdefault(record.id, (0, desk.clock.monotonic()))
        if record.order_type != "LMT" or prices is None or desk.clock.monotonic() - since < REPRICE_SECONDS:
            return
        self._attempts[record.id] = (attempt + 1, desk.clock.monotonic())
        if record.side == "BUY":
            price = cover_price(prices, attempt + 1, self._collar)
        else:
            price = exit_price(prices, True, attempt + 1, self._collar)
        if price != record.limit_price:
            desk.modify(record, quantity=record.filled + remaining, limit=price)
