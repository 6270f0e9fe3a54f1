"""The stand-in for IB Gateway: a TWS API server in front of a simulated market, with a durable account.

`Gateway(market, config, ...)` is made by the sandbox process (and by tests); `start()` listens on its ports (the second one
is the failover gateway: same account) and runs a turn every 50 ms: step the market, match orders, push what changed,
make the ledger durable, write each client's frames at once. It reads no clock: `now_ns` is market time, `machine_ns`
machine time. Writes `ledger.jsonl` and `wire.jsonl` in `data_dir`. `inject(kind, ...)` makes faults (`faults.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from alphatrader.sandbox.gateway import hours, layouts
from alphatrader.sandbox.gateway.account import Account
from alphatrader.sandbox.gateway.account_feed import AccountFeed
from alphatrader.sandbox.gateway.config import GatewayConfig
from alphatrader.sandbox.gateway.contracts import Contracts, Refusal
from alphatrader.sandbox.gateway.data import MarketData
from alphatrader.sandbox.gateway.faults import Faults
from alphatrader.sandbox.gateway.history import FARM_NOTICES, History
from alphatrader.sandbox.gateway.lateness import Lateness
from alphatrader.sandbox.gateway.ledger import Execution, Ledger, Order
from alphatrader.sandbox.gateway.limits import HistoryMeter
from alphatrader.sandbox.gateway.matching import Engine, commission
from alphatrader.sandbox.gateway.orders import Orders
from alphatrader.sandbox.gateway.quotes import Quotes
from alphatrader.sandbox.gateway.replay.audit import Recording
from alphatrader.sandbox.gateway.replay.pace import Pace
from alphatrader.sandbox.gateway.reports import Reporter
from alphatrader.sandbox.gateway.requests import Request
from alphatrader.sandbox.gateway.session import Session
from alphatrader.sandbox.gateway.wirelog import WireLog
from alphatrader.sandbox.market.types import Contract, Market, Step

log = logging.getLogger(__name__)

TURN_SECONDS = 0.05
LATE_SECONDS = 0.5  # a turn that comes this much late is told
ORDER_REQUESTS = frozenset({"placeOrder", "cancelOrder", "reqGlobalCancel"})
FARMS = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2104, "Market data farm connection is OK:usopt"),
    FARM_NOTICES["there"],
    (2158, "Sec-def data farm connection is OK:secdefnj"),
)


class Gateway:
    def __init__(
        self,
        market: Market,
        config: GatewayConfig,
        *,
        now_ns: Callable[[], int],
        machine_ns: Callable[[], int],
        data_dir: Path,
        recording: Recording | None = None,
        pace: Pace | None = None,
    ) -> None:
        """`recording` is an audit log to play again; `pace` that of a market which is itself a recording."""
        self.market = market
        self.now_ns = now_ns
        self.machine_ns = machine_ns
        self.limits = config.limits
        self.max_server_version = config.max_server_version
        self.host = config.host
        self.ports = list(config.ports)  # a 0 becomes the port the system gave, in start()
        self.sessions: list[Session] = []
        self.taken_client_ids: set[int] = set()  # injected: someone else is said to hold them
        self.refused_frames = 0
        self.failed_turns = 0
        self._lateness = Lateness()
        self.wire_log = WireLog(data_dir / "wire.jsonl", now_ns, machine_ns, log_all=config.log_all_frames)
        self.ledger = Ledger(data_dir / "ledger.jsonl", config.account, config.equity)
        self.quotes = Quotes(market)
        self.account = Account(self.ledger, self.quotes)
        self.reporter = Reporter(self.ledger, self.sessions, self.wire_log)
        self.engine = Engine(self.ledger, self.quotes, self.reporter)
        self.contracts = Contracts(market, self.ledger.contracts, now_ns, self.limits, machine_ns)
        self.orders = Orders(self.ledger, self.contracts, self.account, self.engine, self.reporter, now_ns)
        self.data = MarketData(market, self.quotes, self.contracts, config, machine_ns)
        if recording is not None:
            self.data.play(recording)
        self.pace = pace if recording is None else recording.pace
        self.history = History(market, self.contracts, HistoryMeter(self.limits, machine_ns), now_ns)
        self.account_feed = AccountFeed(self.ledger, self.account, now_ns, machine_ns)
        self.faults = Faults(self)
        if config.scenario is not None:
            self.faults.load(config.scenario, now_ns())
        self._handlers = {
            **self.contracts.handlers(),
            **self.orders.handlers(),
            **self.data.handlers(),
            **self.history.handlers(),
            **self.account_feed.handlers(),
        }
        self._listeners: list[asyncio.Server | None] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns: asyncio.Task[None] | None = None

    # --- life

    async def start(self) -> None:
        """Listen and begin to turn. The first turn runs before the first client is accepted."""
        self.wire_log.write("start", account=self.ledger.account, equity=str(self.ledger.cash))
        self.turn()
        self._listeners = [None] * len(self.ports)
        for index in range(len(self.ports)):
            await self._listen(index)
        self._turns = asyncio.create_task(self._run(), name="gateway-turns")

    async def stop(self) -> None:
        if self._turns is not None:
            self._turns.cancel()
            await asyncio.gather(self._turns, return_exceptions=True)
        for listener in self._listeners:
            if listener is not None:
                listener.close()
        for session in list(self.sessions):
            session.close("gateway stops")
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.wire_log.write("stop", account=self.ledger.account, equity=str(self.ledger.cash))
        self.wire_log.close()
        self.ledger.close()

    async def _listen(self, index: int) -> None:
        port = self.ports[index]
        server = await asyncio.get_running_loop().create_server(lambda: Session(self, self.ports[index]), self.host, port)
        self.ports[index] = server.sockets[0].getsockname()[1]
        self._listeners[index] = server

    def close_listener(self, index: int) -> None:
        """This gateway is down: no new connection, and the present ones are reset."""
        listener = self._listeners[index]
        if listener is not None:
            listener.close()
            self._listeners[index] = None
        for session in [session for session in self.sessions if session.port == self.ports[index]]:
            session.close("gateway down", abort=True)

    def open_listener(self, index: int) -> None:
        if self._listeners[index] is None:
            task = asyncio.get_running_loop().create_task(self._listen(index))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        last_ns = self.machine_ns()
        while True:
            await asyncio.sleep(TURN_SECONDS)
            now_ns = self.machine_ns()
            late, last_ns = (now_ns - last_ns) / 1e9 - TURN_SECONDS, now_ns
            if late > LATE_SECONDS:
                # The market's clock went on: this turn shows only the newest quotes, and every print.
                self.wire_log.write("late", seconds=round(late, 3))
                if (text := self._lateness.add(late, now_ns)) is not None:
                    log.warning("%s", text)
            try:
                self.turn()
            except Exception as error:
                # One turn may fail on something the market or a client did; the next must still come.
                self.failed_turns += 1
                self.wire_log.write("turn failed", error=repr(error))
                log.exception("gateway turn failed")

    def turn(self) -> None:
        """One turn at the present market time."""
        now = self.now_ns()
        step = self._step(now)
        self._roll_day(now)
        self.faults.turn(now)
        self._expire_options(now)
        self.engine.turn(now)
        self.data.turn(step)
        self.data.turn_recording(now)
        self.contracts.turn()
        self.settle()

    def _step(self, now: int) -> Step:
        """The market's last step to `now`. A recording stops short at each of its events, so that none is conflated."""
        step = self.market.step(now)
        self.quotes.refresh()
        while step.ts_ns < now:
            self.data.turn(step)
            step = self.market.step(now)
            self.quotes.refresh()
        return step

    def settle(self) -> None:
        """Tell account subscribers what changed, make the ledger durable, then let the frames out."""
        if not self.reporter.muted:
            changed, self.reporter.changed = self.reporter.changed, set()
            self.account_feed.turn(changed)
        self.ledger.commit()
        self.wire_log.turn += 1
        self.wire_log.flush()
        for session in list(self.sessions):
            session.flush()

    def inject(self, kind: str, **args: Any) -> None:
        """Make a fault now; `faults.py` lists the kinds and their arguments."""
        self.faults.inject(kind, **args)

    # --- sessions

    def welcome(self, session: Session) -> None:
        self.wire_log.write("connect", client=session.client_id, port=session.port, version=session.version)
        session.send(layouts.managed_accounts(self.ledger.account))
        session.send(layouts.next_valid_id(self.orders.next_id(session)))
        for code, text in FARMS:
            session.error(-1, code, text)

    def forget(self, session: Session, reason: str) -> None:
        self.sessions.remove(session)
        self.data.forget(session)
        self.contracts.forget(session)
        self.account_feed.forget(session)
        self.wire_log.write("disconnect", client=session.client_id, port=session.port, reason=reason)

    def refused(self, session: Session, why: str) -> None:
        self.refused_frames += 1
        self.wire_log.write("refused", client=session.client_id, port=session.port, why=why)
        log.warning("gateway refused a frame of client %s: %s", session.client_id, why)

    def dispatch(self, session: Session, request: Request, fields: list[str], arrived: int) -> None:
        if request.name in ORDER_REQUESTS:
            self.wire_log.write(
                "frame",
                machine_ns=arrived,
                client=session.client_id,
                port=session.port,
                dir="in",
                message=request.name,
                fields=request.values,
                **self._market(request),
            )
        elif self.wire_log.log_all:
            self.wire_log.write("raw", machine_ns=arrived, client=session.client_id, port=session.port, dir="in", fields=fields)
        try:
            handler = self._handlers.get(request.name)
            if handler is None:
                raise Refusal(321, f"Error validating request.-'bX' : cause - {request.name} is not served")
            handler(session, request.values)
        except Refusal as refusal:
            req_id = request.values["reqId"] if "reqId" in request.values else request.values.get("orderId") or -1
            session.error(req_id, refusal.code, str(refusal))

    def _market(self, request: Request) -> dict[str, Any]:
        """The market of an order's contract as it comes: what its price is judged against."""
        if request.name != "placeOrder":
            return {}
        quote = self.quotes.get(request.values["conId"])
        return {"bid": quote.bid if quote else None, "ask": quote.ask if quote else None}

    # --- the account's day

    def _roll_day(self, now: int) -> None:
        day = f"{hours.new_york(now):%Y%m%d}"
        if day != self.ledger.day:
            self.ledger.open_day(day, self.account.figures().net_liquidation)

    def _expire_options(self, now: int) -> None:
        """Options held past their close are settled in cash at the underlying's closing price."""
        for position in list(self.ledger.held()):
            contract = self.ledger.contracts[position.con_id]
            if contract.sec_type != "OPT" or now < hours.expiry_close(contract.expiry):
                continue
            spot = self._closing_price(contract)
            if spot is None:
                continue  # asked again next turn: an unknown price never settles a position
            gain = spot - contract.strike if contract.right == "C" else contract.strike - spot
            value = Decimal(str(round(max(0.0, gain), 4))) * Decimal(contract.multiplier or 1)
            quantity = position.quantity
            self.ledger.settle(position.con_id, value, now)
            self.reporter.changed.add(position.con_id)
            self.wire_log.write(
                "truth", what="expiry", con_id=position.con_id, position=quantity, value=str(value), cash=str(self.ledger.cash)
            )

    def _closing_price(self, option: Contract) -> float | None:
        bars = self.market.bars(option.under_con_id, hours.expiry_close(option.expiry), 600, 60)
        if bars:
            return bars[-1].close
        quote = self.quotes.get(option.under_con_id)
        return None if quote is None else quote.last

    def hand_trade(self, con_id: int, quantity: int, price: float) -> None:
        """A trade made by hand in the account: client 0, order id 0, already filled."""
        contract = self.market.contract(con_id)
        if contract is None:
            raise ValueError(f"hand_trade: contract {con_id} is unknown")
        now, ledger = self.now_ns(), self.ledger
        ledger.know(contract)
        action, size = ("BUY" if quantity > 0 else "SELL"), abs(quantity)
        fee = commission(contract, size)
        order = Order(
            perm_id=ledger.next_perm_id(),
            client_id=0,
            order_id=0,
            con_id=con_id,
            exchange=contract.exchange,
            action=action,
            quantity=size,
            order_type="LMT",
            limit=price,
            aux=None,
            tif="DAY",
            account=ledger.account,
            created_ns=now,
            expires_ns=None,
            status="Filled",
            filled=size,
            average=price,
            last=price,
            commission=str(fee),
            done_ns=now,
        )
        realized = ledger.realize(contract, quantity, Decimal(str(price)), fee)
        execution = Execution(
            exec_id=ledger.next_exec_id(),
            perm_id=order.perm_id,
            client_id=0,
            order_id=0,
            con_id=con_id,
            ts_ns=now,
            exchange=contract.exchange,
            side="BOT" if quantity > 0 else "SLD",
            shares=size,
            price=price,
            cumulative=size,
            average=price,
            order_ref="",
            liquidity=2,
            commission=str(fee),
            realized=None if realized is None else str(realized),
        )
        ledger.save(order)
        ledger.book(execution)
        self.reporter.fill(order, execution)
