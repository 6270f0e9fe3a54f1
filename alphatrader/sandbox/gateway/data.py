"""Live market data: top-of-book lines, depth, tick-by-tick and 5-second bars, with the account's limits.

Lines are sampled as the broker samples them (250 ms, US options 100 ms, machine time) and send only what changed;
prints, depth and bars are sent as they happen. Each turn reads one Step of the market.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from alphatrader.sandbox.gateway import layouts
from alphatrader.sandbox.gateway.config import GatewayConfig
from alphatrader.sandbox.gateway.contracts import BBO_EXCHANGE, Contracts, Refusal
from alphatrader.sandbox.gateway.depth import DepthLine
from alphatrader.sandbox.gateway.lines import Line
from alphatrader.sandbox.gateway.quotes import Quotes
from alphatrader.sandbox.gateway.replay.audit import BARS, DEPTH, LINE, OWN_DEPTH, TICKS, Recording
from alphatrader.sandbox.gateway.session import Session
from alphatrader.sandbox.gateway.wire import Fields
from alphatrader.sandbox.market.types import Auction, Market, Print, Quote, Step

NS = 10**9
NOT_SUBSCRIBED = (354, "Requested market data is not subscribed. Delayed market data is available.")
TICK_BY_TICK = {"Last": 1, "AllLast": 2, "BidAsk": 3, "MidPoint": 4}


@dataclass(frozen=True, slots=True)
class TickLine:
    session: Session
    req_id: int
    con_id: int
    kind: int


@dataclass(frozen=True, slots=True)
class BarLine:
    session: Session
    req_id: int
    con_id: int


class MarketData:
    def __init__(
        self,
        market: Market,
        quotes: Quotes,
        contracts: Contracts,
        config: GatewayConfig,
        machine_ns: Callable[[], int],
    ) -> None:
        self._market = market
        self._quotes = quotes
        self._contracts = contracts
        self._limits = config.limits
        self._machine_ns = machine_ns
        self._depth_mode, self._depth_modes = config.depth_mode, config.depth_modes
        self._lines: dict[tuple[int, int], Line] = {}
        self._depth: dict[tuple[int, int], DepthLine] = {}
        self._ticks: dict[tuple[int, int], TickLine] = {}
        self._bars: dict[tuple[int, int], BarLine] = {}
        self._tables: dict[str, dict[tuple[int, int], Any]] = {
            "quote": self._lines, "depth": self._depth, "ticks": self._ticks, "bars": self._bars
        }  # fmt: skip
        self._last_auction: dict[int, Auction] = {}
        self._silent = False
        self._muted: set[int] = set()  # con_ids of which nothing is told, injected
        self._not_subscribed: set[int] = set()  # con_ids for which the account has no live data, injected
        self._recording: Recording | None = None

    def handlers(self) -> dict[str, Callable[[Session, dict[str, Any]], None]]:
        return {
            "reqMktData": self._subscribe,
            "cancelMktData": lambda session, values: self._drop(self._lines, session, values, 300, "ticker"),
            "reqMktDepth": self._subscribe_depth,
            "cancelMktDepth": self._cancel_depth,
            "reqTickByTick": self._subscribe_ticks,
            "cancelTickByTick": lambda session, values: self._drop(self._ticks, session, values, 300, "tick-by-tick"),
            "reqRealTimeBars": self._subscribe_bars,
            "cancelRealTimeBars": lambda session, values: self._drop(self._bars, session, values, 300, "bars"),
            "reqMarketDataType": lambda session, values: None,  # the simulated account is entitled to live data
        }

    def forget(self, session: Session) -> None:
        for table in self._tables.values():
            for key in [key for key in table if key[0] == id(session)]:
                del table[key]

    def forget_all(self) -> None:
        """1101: the broker has lost every subscription."""
        for table in self._tables.values():
            table.clear()

    def silence(self, silent: bool, con_ids: Collection[int] | None = None) -> None:
        """Injected: data stop, all or some instruments', while the socket lives. Afterwards every line shows what is now."""
        if con_ids is not None:
            self._muted = self._muted | set(con_ids) if silent else self._muted - set(con_ids)
        else:
            self._silent = silent
            self._muted = self._muted if silent else set()
        if silent:
            return
        for line in self._lines.values():
            line.pending = True
        self._push_depth({line.con_id for line in self._depth.values()})

    def entitle(self, con_ids: Collection[int], entitled: bool) -> None:
        """Injected: the account's data of some instruments end, by 354 what runs of them, or are there again."""
        if entitled:
            self._not_subscribed -= set(con_ids)
            return
        self._not_subscribed |= set(con_ids)
        self.end("quote", *NOT_SUBSCRIBED, con_ids)
        for table in self._tables.values():
            for key in [key for key, line in table.items() if line.con_id in con_ids]:
                del table[key]

    def end(self, kind: str, code: int, text: str, con_ids: Collection[int] | None = None) -> None:
        """Injected: the broker ends what is subscribed of one kind, all or some instruments', with an error to each."""
        for key in [key for key, line in self._tables[kind].items() if con_ids is None or line.con_id in con_ids]:
            line = self._tables[kind].pop(key)
            line.session.error(line.req_id, code, text)

    def _entitled(self, con_id: int, code: int, text: str) -> None:
        if con_id in self._not_subscribed:
            raise Refusal(code, text)

    def tell_lines(self, code: int, text: str) -> None:
        """An error to every top-of-book line."""
        for line in self._lines.values():
            line.session.error(line.req_id, code, text)

    def _hushed(self, con_id: int) -> bool:
        return self._silent or con_id in self._muted

    # --- a recording played again

    def play(self, recording: Recording) -> None:
        """From now on the recording's lines are told as it tells them, and nothing of the market's own."""
        self._recording = recording

    def _replayed(self, kind: str, con_id: int) -> bool:
        return self._recording is not None and (kind, con_id) in self._recording.keys

    def _tell_standing(self, kind: str, line: Line | DepthLine) -> None:
        if self._recording is not None:
            for told in self._recording.standing((kind, line.con_id)):
                line.session.send(told.to(line.req_id))

    def turn_recording(self, now_ns: int) -> None:
        if self._recording is None:
            return
        tables: dict[str, dict[tuple[int, int], Any]] = {
            LINE: self._lines, DEPTH: self._depth, OWN_DEPTH: self._depth, TICKS: self._ticks, BARS: self._bars
        }  # fmt: skip
        for told in self._recording.due(now_ns):
            kind, con_id = told.key
            if self._hushed(con_id):
                continue
            for line in tables[kind].values():
                if line.con_id != con_id or (kind == TICKS and told.fields[2] != str(line.kind)):
                    continue
                if kind not in (DEPTH, OWN_DEPTH) or _depth_kind(line) == kind:
                    line.session.send(told.to(line.req_id))

    def counts(self) -> dict[str, int]:
        return {
            "lines": len(self._lines),
            "depth": len(self._depth),
            "tick_by_tick": len(self._ticks),
            "realtime_bars": len(self._bars),
        }

    # --- subscriptions

    def _key(self, session: Session, values: dict[str, Any], table: dict[tuple[int, int], Any]) -> tuple[int, int]:
        key = (id(session), values["reqId"])
        if key in table:
            raise Refusal(322, "Error processing request.-'bX' : cause - Duplicate ticker id")
        return key

    @staticmethod
    def _drop(table: dict[tuple[int, int], Any], session: Session, values: dict[str, Any], code: int, what: str) -> None:
        if table.pop((id(session), values["reqId"]), None) is None:
            raise Refusal(code, f"Can't find EId with {what}Id:{values['reqId']}")

    def _subscribe(self, session: Session, values: dict[str, Any]) -> None:
        key = self._key(session, values, self._lines)
        contract = self._contracts.one(values)
        self._entitled(contract.con_id, *NOT_SUBSCRIBED)
        if not values["snapshot"] and len(self._lines) >= self._limits.market_data_lines:
            raise Refusal(101, "Max number of tickers has been reached")
        generic = frozenset(part.split(":")[0] for part in values["genericTickList"].split(",") if part)
        line = Line(session, values["reqId"], contract, generic)
        quote = self._quotes.get(contract.con_id)
        if self._replayed(LINE, contract.con_id):
            self._tell_standing(LINE, line)
        else:
            session.send(layouts.tick_req_params(line.req_id, contract.min_tick, BBO_EXCHANGE))
            session.send(layouts.market_data_type(line.req_id, 1))
            if quote is not None and not self._hushed(contract.con_id):
                line.show(quote)
            self._underlying_extras(line)
            if contract.con_id in self._last_auction:
                line.auction(self._last_auction[contract.con_id])
        line.due_ns = self._machine_ns() + line.interval_ns
        if values["snapshot"]:
            session.send(layouts.snapshot_end(line.req_id))
        else:
            self._lines[key] = line

    def _underlying_extras(self, line: Line) -> None:
        """Open interest and implied volatility of an underlying (generic ticks 101, 106), told once at the start."""
        if line.contract.sec_type == "OPT" or not line.generic & {"101", "106"}:
            return
        chain = self._market.chain(line.contract.symbol)
        rights: dict[str, int] = {"C": 0, "P": 0}
        nearest: tuple[float, float] | None = None
        for quote in chain:
            option = self._market.contract(quote.con_id)
            if option is None:
                continue
            rights[option.right] += quote.open_interest or 0
            if quote.implied_vol is not None and quote.under_price is not None:
                distance = abs(option.strike - quote.under_price)
                if nearest is None or distance < nearest[0]:
                    nearest = (distance, quote.implied_vol)
        if chain and "101" in line.generic:
            line.session.send(layouts.tick_size(line.req_id, 27, rights["C"]))
            line.session.send(layouts.tick_size(line.req_id, 28, rights["P"]))
        if nearest is not None and "106" in line.generic:
            line.session.send(layouts.tick_generic(line.req_id, 24, nearest[1]))

    def _subscribe_depth(self, session: Session, values: dict[str, Any]) -> None:
        key = self._key(session, values, self._depth)
        contract = self._contracts.one(values)
        book = self._market.book(contract.con_id)
        if book is None:
            raise Refusal(10092, "Deep market data is not supported for this combination of security type/exchange")
        self._entitled(contract.con_id, *NOT_SUBSCRIBED)
        if not 0 < values["numRows"] <= 100:
            raise Refusal(321, f"Error validating request.-'bX' : cause - numRows {values['numRows']} is outside 1..100")
        if len(self._depth) >= self._limits.depth:
            raise Refusal(309, f"Max number ({self._limits.depth}) of market depth requests has been reached.")
        smart = values["isSmartDepth"]
        direct = not smart and contract.sec_type == "STK" and values["exchange"] not in ("", "SMART")
        line = DepthLine(
            session=session,
            req_id=values["reqId"],
            con_id=contract.con_id,
            rows=values["numRows"],
            smart=smart,
            level_two=smart or contract.sec_type == "STK",
            venue=values["exchange"] if direct else "",
            mode=self._depth_modes.get(contract.symbol, self._depth_mode),
        )
        self._depth[key] = line
        if smart:
            venues = sorted({row.venue for row in book.bids + book.asks})
            session.error(line.req_id, 2152, f"Exchanges - Depth: {'; '.join(venues)}; Top: ; ")
        if self._replayed(_depth_kind(line), line.con_id):
            self._tell_standing(_depth_kind(line), line)
        elif not self._hushed(line.con_id):
            line.update(book)

    def _cancel_depth(self, session: Session, values: dict[str, Any]) -> None:
        key = (id(session), values["reqId"])
        line = self._depth.get(key)
        if line is None or line.smart != values["isSmartDepth"]:
            raise Refusal(310, f"Can't find the subscribed market depth with tickerId:{values['reqId']}")
        del self._depth[key]

    def _subscribe_ticks(self, session: Session, values: dict[str, Any]) -> None:
        key = self._key(session, values, self._ticks)
        contract = self._contracts.one(values)
        kind = TICK_BY_TICK.get(values["tickType"])
        if kind is None:
            raise Refusal(321, f"Error validating request.-'bX' : cause - Unknown tick-by-tick type {values['tickType']!r}")
        if contract.sec_type == "OPT":
            raise Refusal(10189, "Failed to request tick-by-tick data.:Tick-by-tick data are not available for options")
        self._entitled(contract.con_id, 10189, "Failed to request tick-by-tick data.:No market data permissions")
        if len(self._ticks) >= self._limits.tick_by_tick:
            raise Refusal(10190, "Max number of tick-by-tick requests has been reached.")
        self._ticks[key] = TickLine(session, values["reqId"], contract.con_id, kind)

    def _subscribe_bars(self, session: Session, values: dict[str, Any]) -> None:
        key = self._key(session, values, self._bars)
        contract = self._contracts.one(values)
        if values["barSize"] != 5:
            raise Refusal(321, f"Error validating request.-'bX' : cause - Bar size {values['barSize']} is not 5")
        if values["whatToShow"] != "TRADES":
            raise Refusal(321, f"Error validating request.-'bX' : cause - {values['whatToShow']} bars are not simulated")
        self._entitled(contract.con_id, 420, "Invalid Real-time Query:No market data permissions")
        if len(self._bars) >= self._limits.realtime_bars:
            raise Refusal(420, "Invalid real-time query:Max number of real-time bar requests has been reached")
        self._bars[key] = BarLine(session, values["reqId"], contract.con_id)

    # --- every turn

    def turn(self, step: Step) -> None:
        for auction in step.auctions:
            self._last_auction[auction.con_id] = auction
        if self._silent:
            return
        self._push_lines(step)
        if self._depth:
            self._push_depth(set(step.books))
        if self._ticks:
            self._push_ticks(step)
        if self._bars and step.bars:
            for con_id, bar in step.bars:
                for line in self._bars.values():
                    if line.con_id == con_id and con_id not in self._muted and not self._replayed(BARS, con_id):
                        line.session.send(layouts.realtime_bar(line.req_id, bar))

    def _push_lines(self, step: Step) -> None:
        now = self._machine_ns()
        changed = {*step.quotes, *(con_id for con_id, _ in step.halts), *self._quotes.halts}
        repriced = set(step.repriced)
        prints: dict[int, list[Print]] = {}
        for print_ in step.prints:
            prints.setdefault(print_.con_id, []).append(print_)
        auctions = {auction.con_id: auction for auction in step.auctions}
        for line in self._lines.values():
            contract = line.contract
            con_id = contract.con_id
            if con_id in self._muted or self._replayed(LINE, con_id):
                continue
            if con_id in changed or (contract.sec_type == "OPT" and contract.symbol in repriced):
                line.pending = True
            if con_id in prints and line.generic:
                quote = self._quotes.get(con_id)
                if quote is not None:
                    line.trades(prints[con_id], quote)
            if con_id in auctions:
                line.auction(auctions[con_id])
            if line.pending and now >= line.due_ns:
                quote = self._quotes.get(con_id)
                if quote is not None:
                    line.show(quote)
                line.pending = False
                line.due_ns = now + line.interval_ns

    def _push_depth(self, changed: set[int]) -> None:
        for line in self._depth.values():
            if line.con_id in changed and line.con_id not in self._muted and not self._replayed(_depth_kind(line), line.con_id):
                book = self._market.book(line.con_id)
                if book is not None:
                    line.update(book)

    def reset_depth(self) -> None:
        """317 to every depth subscriber, then the book anew."""
        for line in self._depth.values():
            line.session.error(
                line.req_id,
                317,
                "Market depth data has been RESET. Please empty deep book contents before applying any new entries.",
            )
            line.reset()
            book = self._market.book(line.con_id)
            if book is not None:
                line.update(book)

    def _push_ticks(self, step: Step) -> None:
        changed = set(step.quotes)
        for line in self._ticks.values():
            if line.con_id in self._muted or self._replayed(TICKS, line.con_id):
                continue
            if line.kind <= 2:
                for print_ in step.prints:
                    if print_.con_id == line.con_id and (line.kind == 2 or not print_.unreported):
                        line.session.send(_trade(line, print_))
            elif line.con_id in changed:
                quote = self._quotes.get(line.con_id)
                if quote is not None and quote.bid is not None and quote.ask is not None:
                    line.session.send(_quote(line, quote, quote.bid, quote.ask))


def _depth_kind(line: DepthLine) -> str:
    """As the recordings tell them apart: a stock's book on one exchange alone is another line than that of all."""
    return OWN_DEPTH if line.level_two and not line.smart else DEPTH


def _trade(line: TickLine, print_: Print) -> Fields:
    mask = int(print_.past_limit) | int(print_.unreported) << 1
    return layouts.tick_by_tick_last(
        line.req_id, line.kind, print_.ts_ns // NS, print_.price, print_.size, mask, print_.exchange, print_.conditions
    )


def _quote(line: TickLine, quote: Quote, bid: float, ask: float) -> Fields:
    seconds = quote.ts_ns // NS
    if line.kind == 4:
        return layouts.tick_by_tick_mid(line.req_id, seconds, round((bid + ask) / 2, 6))
    return layouts.tick_by_tick_bid_ask(line.req_id, seconds, bid, ask, quote.bid_size, quote.ask_size)
