"""The account: orders, executions, positions and cash, durable in `ledger.jsonl`.

Written before any client hears of it (`commit` runs before the sockets are flushed, with fsync), and replayed at
start: positions, working orders, the day's executions, cash and all id counters survive SIGKILL. Money is Decimal.
One process owns a ledger; the gateway is its only writer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from alphatrader.sandbox.market.types import Contract

WORKING = frozenset({"PreSubmitted", "Submitted"})
DONE = frozenset({"Filled", "Cancelled", "Inactive"})

FIRST_PERM_ID = 1_800_000_001
EXEC_PREFIX = 0x0000E0D5
FIRST_EXEC = 0x6917A3F1


@dataclass(slots=True)
class Order:
    """One order as the gateway holds it. Mutable: the ledger stores each state it passes."""

    perm_id: int
    client_id: int
    order_id: int
    con_id: int
    exchange: str
    action: str  # BUY or SELL
    quantity: int
    order_type: str  # LMT MKT STP STP LMT TRAIL
    limit: float | None
    aux: float | None
    tif: str
    account: str
    created_ns: int
    expires_ns: int | None  # DAY orders; None for GTC
    oca_group: str = ""
    oca_type: int = 3
    order_ref: str = ""
    parent_id: int = 0
    parent_perm_id: int = 0
    outside_rth: bool = False
    trail_stop: float | None = None
    trailing_percent: float | None = None
    status: str = "PreSubmitted"
    filled: int = 0
    average: float = 0.0
    last: float = 0.0
    bracket_quantity: int = 0  # quantity as attached to a parent, of which each parent fill releases its share
    released: int | None = None  # held child: what the parent has released, less what its OCA siblings used; None: all
    triggered: bool = False
    resting: bool = False  # has met the book once without filling wholly: it now provides liquidity at its limit
    why_held: str = ""
    commission: str = "0"
    done_ns: int = 0
    reason: str = ""
    echo: dict[str, str] = field(default_factory=dict)  # placed fields that only come back in openOrder

    @property
    def working(self) -> bool:
        return self.status in WORKING

    @property
    def remaining(self) -> int:
        return self.quantity - self.filled

    @property
    def active(self) -> int:
        """What could execute now."""
        if not self.working:
            return 0
        return self.remaining if self.released is None else max(0, min(self.released, self.quantity) - self.filled)

    @property
    def sign(self) -> int:
        return 1 if self.action == "BUY" else -1


@dataclass(frozen=True, slots=True)
class Execution:
    exec_id: str
    perm_id: int
    client_id: int
    order_id: int
    con_id: int
    ts_ns: int
    exchange: str
    side: str  # BOT or SLD
    shares: int
    price: float
    cumulative: int
    average: float
    order_ref: str
    liquidity: int  # 1 added, 2 removed
    commission: str
    realized: str | None  # None: it opened

    @property
    def signed(self) -> int:
        return self.shares if self.side == "BOT" else -self.shares


@dataclass(slots=True)
class Position:
    con_id: int
    quantity: int = 0
    average_cost: Decimal = Decimal(0)  # per share or contract, multiplier and commissions included, as the broker counts
    realized: Decimal = Decimal(0)  # since the position's day began


def multiplier(contract: Contract) -> Decimal:
    return Decimal(contract.multiplier or 1)


class Ledger:
    def __init__(self, path: Path, account: str, equity: Decimal) -> None:
        self.account = account
        self.cash = equity
        self.contracts: dict[int, Contract] = {}
        self.orders: dict[int, Order] = {}  # by permId, in the order of arrival
        self.executions: dict[str, Execution] = {}  # in the order of arrival
        self.positions: dict[int, Position] = {}
        self.day = ""  # session day the daily figures belong to
        self.day_equity = equity
        self._perm_id = FIRST_PERM_ID
        self._exec = FIRST_EXEC
        self._by_client: dict[tuple[int, int], int] = {}
        self._highest: dict[int, int] = {}
        self._encoder = msgspec.json.Encoder()
        self._dirty = self._sync = False
        path.parent.mkdir(parents=True, exist_ok=True)
        existed = path.exists()
        if existed:
            self._replay(path)
        self._file = path.open("ab")
        if not existed or not path.stat().st_size:
            self._append({"event": "account", "account": account, "cash": str(equity)}, sync=True)
            self.commit()

    # --- ids and look-ups

    def next_perm_id(self) -> int:
        self._perm_id += 1
        return self._perm_id - 1

    def next_exec_id(self) -> str:
        self._exec += 1
        return f"{EXEC_PREFIX:08x}.{self._exec - 1:08x}.01.01"

    def highest_order_id(self, client_id: int) -> int:
        return self._highest.get(client_id, 0)

    def order(self, client_id: int, order_id: int) -> Order | None:
        perm_id = self._by_client.get((client_id, order_id))
        return None if perm_id is None else self.orders[perm_id]

    def working(self) -> list[Order]:
        return [order for order in self.orders.values() if order.working]

    def children(self, parent: Order) -> list[Order]:
        return [order for order in self.orders.values() if order.parent_perm_id == parent.perm_id]

    def oca_others(self, order: Order) -> list[Order]:
        if not order.oca_group:
            return []
        group = order.oca_group
        return [o for o in self.orders.values() if o.working and o.oca_group == group and o.perm_id != order.perm_id]

    def held(self) -> Iterator[Position]:
        return (position for position in self.positions.values() if position.quantity)

    # --- changes

    def know(self, contract: Contract) -> None:
        """Keep the contract with the account: it must outlive the market's own listing."""
        if contract.con_id not in self.contracts:
            self.contracts[contract.con_id] = contract
            self._append({"event": "contract", "contract": contract})

    def save(self, order: Order, *, sync: bool = True) -> None:
        self._take_order(order)
        self._append({"event": "order", "order": order}, sync=sync)

    def book(self, execution: Execution) -> Position:
        self._append({"event": "fill", "execution": execution}, sync=True)
        return self._book(execution)

    def realize(self, contract: Contract, signed: int, price: Decimal, commission: Decimal) -> Decimal | None:
        """Profit that a fill of `signed` would realize, commission taken off; None when it only opens."""
        position = self.positions.get(contract.con_id)
        if position is None or position.quantity * signed >= 0:
            return None
        closed = min(abs(signed), abs(position.quantity))
        gain = (price * multiplier(contract) - position.average_cost) * closed * (1 if position.quantity > 0 else -1)
        return gain - commission * closed / abs(signed)

    def settle(self, con_id: int, value: Decimal, ts_ns: int) -> None:
        """An expired option leaves the account for `value` a contract, in cash."""
        self._append({"event": "settle", "con_id": con_id, "value": str(value), "ts_ns": ts_ns}, sync=True)
        self._settle(con_id, value)

    def correct(self, exec_id: str, price: float) -> tuple[Execution, Execution]:
        """The exchange corrects the price of an execution: same id, last field one higher. Returns old and new."""
        old = self.executions[exec_id]
        stem, revision = exec_id.rsplit(".", 1)
        new = replace(old, exec_id=f"{stem}.{int(revision) + 1:02d}", price=price)
        self._append({"event": "correct", "exec_id": exec_id, "execution": new}, sync=True)
        self._correct(old, new)
        return old, new

    def open_day(self, day: str, equity: Decimal) -> None:
        """A new day: daily profit counts from `equity`, and finished orders of earlier days are forgotten."""
        self._append({"event": "day", "day": day, "equity": str(equity)})
        self._open_day(day, equity)

    def commit(self) -> None:
        """Make everything appended so far durable. Orders and fills are synced to the disk, the rest reaches the kernel."""
        if not self._dirty:
            return
        self._file.flush()
        if self._sync:
            os.fsync(self._file.fileno())
        self._dirty = self._sync = False

    def close(self) -> None:
        self.commit()
        self._file.close()

    # --- the same changes, replayed

    def _append(self, event: dict[str, Any], *, sync: bool = False) -> None:
        self._file.write(self._encoder.encode(event) + b"\n")
        self._dirty = True
        self._sync = self._sync or sync

    def _replay(self, path: Path) -> None:
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):  # a line cut by a crash was never acknowledged to anyone
            os.truncate(path, whole)
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                self._apply(msgspec.json.decode(line))
            except (msgspec.DecodeError, msgspec.ValidationError, KeyError, TypeError) as error:
                raise ValueError(f"{path} line {number}: not a ledger event: {error}") from error

    def _apply(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "account":
                if event["account"] != self.account:
                    raise ValueError(f"ledger belongs to account {event['account']}, not {self.account}")
                self.cash = self.day_equity = Decimal(event["cash"])
            case "contract":
                contract = msgspec.convert(event["contract"], Contract)
                self.contracts[contract.con_id] = contract
            case "order":
                self._take_order(msgspec.convert(event["order"], Order))
            case "fill":
                self._book(msgspec.convert(event["execution"], Execution))
            case "settle":
                self._settle(event["con_id"], Decimal(event["value"]))
            case "correct":
                self._correct(self.executions[event["exec_id"]], msgspec.convert(event["execution"], Execution))
            case "day":
                self._open_day(event["day"], Decimal(event["equity"]))

    def _take_order(self, order: Order) -> None:
        self.orders[order.perm_id] = order
        self._perm_id = max(self._perm_id, order.perm_id + 1)
        if order.order_id > 0:
            self._by_client[(order.client_id, order.order_id)] = order.perm_id
            self._highest[order.client_id] = max(self._highest.get(order.client_id, 0), order.order_id)

    def _book(self, execution: Execution) -> Position:
        self.executions[execution.exec_id] = execution
        self._exec = max(self._exec, int(execution.exec_id.split(".")[1], 16) + 1)
        contract = self.contracts[execution.con_id]
        position = self.positions.setdefault(execution.con_id, Position(execution.con_id))
        unit = Decimal(str(execution.price)) * multiplier(contract)
        commission = Decimal(execution.commission)
        signed = execution.signed
        realized = Decimal(execution.realized) if execution.realized is not None else None
        if realized is not None:
            position.realized += realized
        if contract.sec_type == "FUT":  # margined: only profit and commission move cash
            self.cash -= commission
            if realized is not None:
                self.cash += realized + commission * min(abs(signed), abs(position.quantity)) / abs(signed)
        else:
            self.cash -= unit * signed + commission
        before, after = position.quantity, position.quantity + signed
        if before * signed >= 0:
            cost = position.average_cost * abs(before) + unit * abs(signed) + commission * (1 if signed > 0 else -1)
            position.average_cost = cost / abs(after)
        elif before * after < 0:  # turned over: what is left was opened by this fill
            position.average_cost = unit + commission / abs(signed) * (1 if signed > 0 else -1)
        elif after == 0:
            position.average_cost = Decimal(0)
        position.quantity = after
        return position

    def _settle(self, con_id: int, value: Decimal) -> None:
        position = self.positions[con_id]
        self.cash += value * position.quantity
        position.realized += (value - position.average_cost) * position.quantity
        position.quantity, position.average_cost = 0, Decimal(0)

    def _correct(self, old: Execution, new: Execution) -> None:
        del self.executions[old.exec_id]
        self.executions[new.exec_id] = new
        contract, position = self.contracts[new.con_id], self.positions[new.con_id]
        shift = (Decimal(str(new.price)) - Decimal(str(old.price))) * multiplier(contract) * new.signed
        if contract.sec_type != "FUT":
            self.cash -= shift
        if position.quantity * new.signed > 0:
            position.average_cost += shift / position.quantity
        else:
            position.realized -= shift

    def _open_day(self, day: str, equity: Decimal) -> None:
        self.day, self.day_equity = day, equity
        self.orders = {perm_id: order for perm_id, order in self.orders.items() if order.working}
        self._by_client = {key: perm_id for key, perm_id in self._by_client.items() if perm_id in self.orders}
        self.executions = {}
        for position in self.positions.values():
            position.realized = Decimal(0)
