"""Finding contracts and describing them: contractDetails, option parameters, exchanges, market rules.

Reads the market's listing and the ledger's (contracts once traded outlive their listing). Owns no state but caches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from alphatrader.sandbox.gateway import hours, layouts
from alphatrader.sandbox.gateway.limits import Limits
from alphatrader.sandbox.gateway.session import Session
from alphatrader.sandbox.gateway.wire import Fields
from alphatrader.sandbox.market.types import Contract, Market

SEC_TYPES = frozenset(
    {"STK", "FUT", "CONTFUT", "IND", "OPT", "BAG", "CASH", "FOP", "WAR", "BOND", "CFD", "CMDTY", "CRYPTO", "FUND"}
)
OPTION_EXCHANGES = ("SMART", "CBOE", "AMEX", "ISE", "PHLX", "BATS")

# Depth exchanges: exchange, security type, listing, service data type, aggregation group.
DEPTH_EXCHANGES = (
    ("ISLAND", "STK", "NASDAQ", "Deep2", 1),
    ("ARCA", "STK", "NYSE", "Deep", 1),
    ("BATS", "STK", "", "Deep", 1),
    ("EDGX", "STK", "", "Deep", 1),
    ("IEX", "STK", "", "Deep", 1),
    ("NYSE", "STK", "NYSE", "Deep", 1),
    ("CME", "FUT", "", "Deep", 2147483647),
    ("CBOT", "FUT", "", "Deep", 2147483647),
    ("NYMEX", "FUT", "", "Deep", 2147483647),
    ("COMEX", "FUT", "", "Deep", 2147483647),
    ("NYBOT", "FUT", "", "Deep", 2147483647),
    ("CFE", "FUT", "", "Deep", 2147483647),
)

# bboExchange letters: bit, exchange, letter (SIP participants).
SMART_COMPONENTS = (
    (0, "AMEX", "A"),
    (1, "BEX", "B"),
    (2, "NYSENAT", "C"),
    (3, "EDGEA", "J"),
    (4, "DRCTEDGE", "K"),
    (5, "NYSE", "N"),
    (6, "ARCA", "P"),
    (7, "ISLAND", "Q"),
    (8, "MEMX", "U"),
    (9, "IEX", "V"),
    (10, "BATS", "Z"),
    (11, "BYX", "Y"),
    (12, "PEARL", "H"),
    (13, "LTSE", "L"),
    (14, "CHX", "M"),
    (15, "PSX", "X"),
)
BBO_EXCHANGE = "9c0001"
PENNIES_THROUGHOUT = frozenset({"SPY", "QQQ", "IWM"})  # option classes that move by a cent at any price
COARSER_RULES = {0.01: (109, 0.05), 0.05: (110, 0.1)}  # of other classes, by their step under $3: rule, step from there on
COARSER_FROM = 3.0
RULE_OF_TICK = {0.01: 26, 0.25: 67, 0.05: 635, 0.005: 128, 0.1: 239, 0.2: 1110, 1.0: 27, 0.03125: 240}


Increments = tuple[tuple[float, float], ...]
"""(from this price on, step), lowest first."""


def increments_of(contract: Contract) -> Increments:
    """The steps between an instrument's prices. Options by the exchanges' penny interval program (Cboe Rule 5.4)."""
    coarser = COARSER_RULES.get(contract.min_tick)
    if contract.sec_type != "OPT" or contract.symbol in PENNIES_THROUGHOUT or coarser is None:
        return ((0.0, contract.min_tick),)
    return ((0.0, contract.min_tick), (COARSER_FROM, coarser[1]))


def step_at(contract: Contract, price: float) -> float:
    return next(step for low, step in reversed(increments_of(contract)) if price >= low)


class Refusal(ValueError):
    """A request that the gateway understands and does not serve: an error code and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Contracts:
    def __init__(
        self,
        market: Market,
        known: dict[int, Contract],
        now_ns: Callable[[], int],
        limits: Limits,
        machine_ns: Callable[[], int],
    ) -> None:
        self._market = market
        self._known = known
        self._now_ns = now_ns
        self._limits, self._machine_ns = limits, machine_ns
        self._waiting: dict[Session, deque[Fields]] = {}
        """Contract details that are paced, and the ends that follow them."""
        self._paced_ns = 0
        self._rules: dict[int, Increments] = {rule: ((0.0, tick),) for tick, rule in RULE_OF_TICK.items()}
        self._rules |= {rule: ((0.0, tick), (COARSER_FROM, over)) for tick, (rule, over) in COARSER_RULES.items()}
        self.unlisted: set[int] = set()
        """Contracts that requests do not find (200), whoever holds them."""

    # --- matching

    def find(self, values: dict[str, Any]) -> list[Contract]:
        """Every contract the request's fields allow; a conId alone decides."""
        con_id = values["conId"]
        if con_id:
            if con_id in self.unlisted:
                return []
            contract = self._market.contract(con_id) or self._known.get(con_id)
            return [contract] if contract else []
        sec_type = values["secType"]
        if sec_type not in SEC_TYPES:
            raise Refusal(321, "Error validating request.-'bQ' : cause - Please enter a valid security type")
        if not values["symbol"] and not values["localSymbol"]:
            raise Refusal(321, "Error validating request.-'bQ' : cause - Please enter a symbol or a local symbol")
        right = values["right"][:1].upper()
        found = self._market.contracts(
            symbol=values["symbol"],
            sec_type="FUT" if sec_type == "CONTFUT" else sec_type,
            expiry=values["lastTradeDateOrContractMonth"],
            strike=values["strike"],
            right=right if right in ("C", "P") else "",
            trading_class=values["tradingClass"],
            local_symbol=values["localSymbol"],
            multiplier=values["multiplier"],
        )
        found = [c for c in found if self._routes(c, values)]
        if sec_type == "CONTFUT" and found:
            found = [min(found, key=lambda c: c.expiry)]
        return found

    @staticmethod
    def _routes(contract: Contract, values: dict[str, Any]) -> bool:
        exchange, primary, currency = values["exchange"], values["primaryExchange"], values["currency"]
        venues = (contract.exchange, contract.primary_exchange, *contract.valid_exchanges.split(","))
        if exchange and exchange not in venues:
            return False
        if primary and contract.primary_exchange and primary not in (contract.primary_exchange, contract.exchange):
            return False
        return not currency or currency == contract.currency

    def one(self, values: dict[str, Any]) -> Contract:
        """The one contract meant by a data or order request."""
        if values["secType"] == "BAG":
            raise Refusal(321, "Error validating request.-'bX' : cause - Combination contracts are not simulated")
        found = self.find(values)
        if not found:
            raise Refusal(200, "No security definition has been found for the request")
        if len(found) > 1:
            raise Refusal(200, f"The contract description specified for {values['symbol']} is ambiguous.")
        return found[0]

    # --- answers

    def handlers(self) -> dict[str, Callable[[Session, dict[str, Any]], None]]:
        return {
            "reqContractDetails": self._details,
            "reqSecDefOptParams": self._option_parameters,
            "reqMktDepthExchanges": lambda session, values: session.send(layouts.depth_exchanges(DEPTH_EXCHANGES)),
            "reqSmartComponents": lambda session, values: session.send(
                layouts.smart_components(values["reqId"], SMART_COMPONENTS)
            ),
            "reqMarketRule": self._market_rule,
            "reqMatchingSymbols": self._matching_symbols,
        }

    def rule_id(self, contract: Contract) -> int:
        increments = increments_of(contract)
        rule = next((rule for rule, known in self._rules.items() if known == increments), None)
        if rule is None:
            rule = max(1000, max(self._rules) + 1)
            self._rules[rule] = increments
        return rule

    def _details(self, session: Session, values: dict[str, Any]) -> None:
        found = self.find(values)
        if not found:
            raise Refusal(200, "No security definition has been found for the request")
        now = self._now_ns()
        for contract in found:
            self._tell(
                session,
                layouts.contract_details(
                    values["reqId"],
                    contract,
                    exchange=values["exchange"] or contract.exchange,
                    trading_hours=hours.hours_text(contract, now, liquid=False),
                    liquid_hours=hours.hours_text(contract, now, liquid=True),
                    rule_ids=",".join([str(self.rule_id(contract))] * len(contract.valid_exchanges.split(","))),
                    version=session.version,
                    agg_group=2 if contract.sec_type == "OPT" else 1,
                ),
                at_once=len(found) <= self._limits.details_at_once,
            )
        self._tell(session, layouts.contract_details_end(values["reqId"]), at_once=True)

    def _tell(self, session: Session, fields: Fields, *, at_once: bool) -> None:
        """Now, or behind what this connection already waits for: a flood of details is throttled."""
        waiting = self._waiting.get(session)
        if waiting is None and at_once:
            session.send(fields)
            return
        if waiting is None:
            if not self._waiting:
                self._paced_ns = self._machine_ns()
            waiting = self._waiting[session] = deque()
        waiting.append(fields)

    def turn(self) -> None:
        """So many of the details that wait as the time since the last turn allows."""
        now = self._machine_ns()
        due = (now - self._paced_ns) * self._limits.details_per_second // hours.NS
        if not self._waiting or due < 1:
            return
        self._paced_ns = now
        for session, waiting in list(self._waiting.items()):
            for _ in range(min(due, len(waiting))):
                session.send(waiting.popleft())
            if not waiting:
                del self._waiting[session]

    def forget(self, session: Session) -> None:
        self._waiting.pop(session, None)

    def _option_parameters(self, session: Session, values: dict[str, Any]) -> None:
        classes: dict[tuple[str, str], tuple[set[str], set[float]]] = {}
        for contract in self._market.contracts(symbol=values["symbol"], sec_type="OPT"):
            if values["underConId"] and contract.under_con_id not in (0, values["underConId"]):
                continue
            key = (contract.trading_class, contract.multiplier)
            expiries, strikes = classes.setdefault(key, (set(), set()))
            expiries.add(contract.expiry)
            strikes.add(contract.strike)
        for exchange in OPTION_EXCHANGES:
            for (trading_class, multiplier), (expiries, strikes) in classes.items():
                session.send(
                    layouts.sec_def_params(
                        values["reqId"],
                        exchange,
                        values["underConId"],
                        trading_class,
                        multiplier,
                        sorted(expiries),
                        sorted(strikes),
                    )
                )
        session.send(layouts.sec_def_params_end(values["reqId"]))

    def _market_rule(self, session: Session, values: dict[str, Any]) -> None:
        increments = self._rules.get(values["marketRuleId"])
        if increments is None:
            session.error(-1, 321, f"Error validating request.-'bE' : cause - Unknown market rule {values['marketRuleId']}")
            return
        session.send(layouts.market_rule(values["marketRuleId"], increments))

    def _matching_symbols(self, session: Session, values: dict[str, Any]) -> None:
        pattern = values["pattern"].upper()
        found = []
        for sec_type in ("STK", "IND"):
            for contract in self._market.contracts(sec_type=sec_type):
                if contract.symbol.startswith(pattern) or pattern in contract.long_name.upper():
                    found.append((contract, ["OPT"] if self._market.expiries(contract.symbol) else []))
        session.send(layouts.symbol_samples(values["reqId"], found[:16], session.version))
