"""`SimulatedMarket`: plays the sessions slot by slot as market time goes on, and answers what is asked about now or before.

Made by the sandbox's process; read by its gateway and its Alpha Vantage stand-in. Reads nothing but its arguments; writes the
truth log. A start at any instant, and a step over a gap longer than `replay_seconds`, stand the market where it would be had
it run all along; shorter gaps are played print by print, with quotes conflated.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from datetime import date
from math import exp, inf

from .announcing import Announcer
from .business_days import Session, Sessions
from .history import DAY_SECONDS, bars_of
from .instrument import Instrument
from .instruments import EQUITIES, FUTURES, SPECS
from .listings import Listing, find_unlisted, future_months, unpack_option
from .news import news_items
from .option_desk import OptionDesk
from .paths import SLOT_NS, SLOT_SECONDS, Paths
from .pauses import Halt, natural
from .session_truth import session_truth
from .slot_plan import Tape
from .tables import Activity, SlotTable, build_table
from .truth import TruthLog
from .turn import Turn
from .types import Bar, Book, Contract, Quote, Step
from .venues import PRIMARY_VENUE

_MONTH_SHARE = (1.0, 0.12, 0.04, 0.02)  # of a root's activity by rank of the contract month
_IDLE_SHARE = 0.01
_TABLES_KEPT = 160


class SimulatedMarket:
    def __init__(
        self,
        *,
        seed: int,
        start_ns: int,
        sessions: Sequence[tuple[date, int, int]],
        truth: TruthLog | None = None,
        rate: float = 1.0,
        halts: Sequence[Halt] = (),
        depth_con_ids: Collection[int] | None = None,
        replay_seconds: int = 600,
    ) -> None:
        """`sessions` are (date, open_ns, close_ns); `rate` scales the number of quotes and prints; `depth_con_ids` limits which
        instruments have level 2 (all equities and the two nearest months of each future by default)."""
        if rate <= 0:
            raise ValueError(f"rate: must be > 0, got {rate}")
        self._seed, self._rate, self._halts = seed, rate, tuple(halts)
        self._truth = truth or TruthLog(None)
        self._sessions = Sessions(sessions)
        self._paths = Paths(seed)
        self._announcer = Announcer(seed, self._truth, self._paths)
        self._depth = depth_con_ids
        self._replay_ns = replay_seconds * 1_000_000_000
        self._tables: OrderedDict[tuple[int, date], SlotTable] = OrderedDict()
        self._daily: dict[tuple[int, date], Bar] = {}
        self._months: dict[tuple[str, date], dict[int, int]] = {}
        self._listings: dict[date, Listing] = {}
        self._now = start_ns
        self._instruments: dict[int, Instrument] = {}
        self._desk = OptionDesk(seed, self._sessions, self._paths)
        self._stand_at(start_ns)

    # -- where the market is -----------------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        return self._now

    @property
    def is_open(self) -> bool:
        return self._now < self._session.close_ns

    def _listing(self, day: date) -> Listing:
        listing = self._listings.get(day)
        if listing is None:
            before = self._sessions.shift(day, -1)
            listing = Listing(self._sessions, day, lambda symbol: exp(self._paths.level(symbol, before)))
            self._listings = {d: kept for d, kept in self._listings.items() if abs((d - day).days) < 5} | {day: listing}
        return listing

    @property
    def _listed(self) -> Listing:
        return self._listing(self._sessions.trading_date(self._now))

    def _stand_at(self, now_ns: int) -> None:
        self._now = now_ns
        self._open_session(self._sessions.started(now_ns))
        for instrument in self._instruments.values():
            instrument.position(now_ns)
            if now_ns >= self._session.close_ns:
                instrument.close_session()
            elif instrument.contract.sec_type == "STK":
                self._announcer.running(instrument, self._session, (now_ns - self._session.open_ns) // 1_000_000_000)

    def _open_session(self, session: Session) -> None:
        self._session, self._following = session, self._sessions.after(session)
        listing = self._listing(session.day)
        before = self._sessions.before(session)
        self._instruments = {}
        for contract in (*(c for _, c in listing.equities), *(month.contract for month in listing.futures), *listing.indices):
            rank = self._rank(contract, session)
            depth = contract.con_id in self._depth if self._depth is not None else rank in (0, 1)
            prev_close = self._daily_bar(contract, before, before.open_ns, before.close_ns)[0].close
            instrument = Instrument(
                contract, self._table(contract, session), self._tape(contract, session), self._rate, prev_close,
                has_depth=depth and contract.sec_type != "IND",
            )  # fmt: skip
            instrument.start_slot(0)
            self._instruments[contract.con_id] = instrument
        self._desk.start_session(session)
        if self._truth.enabled:
            self._truth.write("session", session.open_ns, 0, session_truth(session, self._instruments.values()))

    # -- tables ------------------------------------------------------------------------------------------------------

    def _rank(self, contract: Contract, session: Session) -> int:
        """0 for stocks and indices; for futures the place of the contract month on that date, see `FutureMonth`."""
        if contract.sec_type != "FUT":
            return 0
        key = (contract.trading_class, session.day)
        if key not in self._months:
            future = next(future for future in FUTURES if future.root == contract.trading_class)
            months = future_months(self._sessions, future, session.day)
            self._months[key] = {month.contract.con_id: month.rank for month in months}
        return self._months[key].get(contract.con_id, -1)

    @staticmethod
    def _path_name(contract: Contract) -> str:
        return contract.trading_class if contract.sec_type == "FUT" else contract.symbol

    def _activity(self, contract: Contract, session: Session) -> Activity:
        spec = SPECS[self._path_name(contract)]
        if contract.sec_type != "FUT":
            return Activity(spec.prints_per_second, spec.quotes_per_second, spec.daily_volume, spec.spread_ticks, 1.0)
        last_day = date.fromisoformat(contract.expiry)
        rank = self._rank(contract, session)
        share = _MONTH_SHARE[rank] if 0 <= rank < len(_MONTH_SHARE) else _IDLE_SHARE
        scale = exp(spec.carry * max(0, (last_day - session.day).days) / 365)
        quotes = max(1.0, spec.quotes_per_second * max(share, 0.2))
        wide = spec.spread_ticks + (1 if rank < 0 else rank)
        return Activity(spec.prints_per_second * share, quotes, max(1, int(spec.daily_volume * share)), wide, scale)

    def _tape(self, contract: Contract, session: Session) -> Tape:
        venue = PRIMARY_VENUE.get(contract.primary_exchange, contract.exchange)
        return Tape(contract.sec_type == "STK", venue, self._activity(contract, session).quotes_per_second)

    def _table(self, contract: Contract, session: Session) -> SlotTable:
        key = (contract.con_id, session.day)
        table = self._tables.get(key)
        if table is None:
            name = self._path_name(contract)
            rare = natural(self._seed, name, session) if contract.sec_type == "STK" else ()
            mine = (*rare, *(halt for halt in self._halts if halt.symbol == name))
            halts = tuple((h.start_ns, h.end_ns) for h in mine if h.start_ns < session.close_ns)
            table = self._tables[key] = build_table(
                self._seed, SPECS[name], self._activity(contract, session), str(contract.con_id), session,
                self._paths.session(name, session), rate=self._rate, halts=halts,
            )  # fmt: skip
            if len(self._tables) > _TABLES_KEPT:
                self._tables.popitem(last=False)
        else:
            self._tables.move_to_end(key)
        return table

    def pause(self, symbol: str, seconds: float) -> None:
        """Scripted: the stock is paused from its next slot on. Raises ValueError where there is none that trades."""
        found = [i for i in self._instruments.values() if i.contract.symbol == symbol and i.contract.sec_type == "STK"]
        if not found or not self.is_open or found[0].slot + 1 >= found[0].table.slots:
            raise ValueError(f"{symbol}: no stock that trades now")
        (instrument,) = found
        start_ns = self._session.open_ns + (instrument.slot + 1) * SLOT_NS
        self._halts += (Halt(symbol, start_ns, start_ns + int(seconds * 1e9)),)
        del self._tables[(instrument.contract.con_id, self._session.day)]
        instrument.take_table(self._table(instrument.contract, self._session))

    # -- time --------------------------------------------------------------------------------------------------------

    def step(self, now_ns: int) -> Step:
        if now_ns < self._now:
            raise ValueError(f"now_ns: market time never goes back, {now_ns} < {self._now}")
        turn = Turn()
        if now_ns - self._now > self._replay_ns and self._session_time(now_ns) > self._replay_ns:
            self._truth.write("gap", now_ns, 0, {"from_ns": self._now})
            self._stand_at(now_ns)
            turn.everything(self._instruments)
        while True:
            if self._now < self._session.close_ns:
                target = min(now_ns, self._session.close_ns)
                self._advance(target, turn)
                self._now = target
                if target == self._session.close_ns:
                    for instrument in self._instruments.values():
                        instrument.close_session()
                    turn.everything(self._instruments)
            if now_ns < self._following.open_ns:
                break
            self._open_session(self._following)
            self._now = self._session.open_ns
            turn.everything(self._instruments)
        self._now = now_ns
        if turn.prints:
            self._truth.flush()
        return turn.step(now_ns)

    def _session_time(self, now_ns: int) -> int:
        """Nanoseconds of session time between the market's now and `now_ns`."""
        return sum(
            min(now_ns, s.close_ns) - max(self._now, s.open_ns) for s in self._sessions.within(self._now, now_ns)
        )  # fmt: skip

    def _advance(self, target: int, turn: Turn) -> None:
        for con_id, instrument in self._instruments.items():
            if instrument.next_ts > target:
                continue
            equity = instrument.contract.sec_type == "STK"
            while instrument.next_ts <= target:
                changed, moved = instrument.play(target, turn.printer(con_id, self._truth), turn.teller(con_id, self._truth))
                if changed:
                    turn.quotes[con_id] = None
                    if instrument.has_depth:
                        turn.books[con_id] = None
                    if moved and equity:
                        turn.repriced[instrument.contract.symbol] = None
                if instrument.cursor == len(instrument.events) and instrument.next_ts <= target:
                    self._finish_slot(instrument, turn)

    def _finish_slot(self, instrument: Instrument, turn: Turn) -> None:
        table, slot = instrument.table, instrument.slot
        con_id = instrument.contract.con_id
        turn.bars.append((con_id, instrument.bar(slot)))
        following = slot + 1
        if following >= table.slots:
            instrument.next_ts = inf
            return
        was_halted = instrument.halted
        instrument.start_slot(following)
        start_ns = table.session.open_ns + following * SLOT_NS
        if instrument.halted != was_halted:
            self._truth.write("halt", start_ns, con_id, {"value": instrument.halted})
            turn.halts.append((con_id, instrument.halted))
            turn.quotes[con_id] = turn.books[con_id] = None
            turn.repriced[instrument.contract.symbol] = None
        if instrument.contract.sec_type == "STK":
            auction = self._announcer.begins(instrument, self._session, following, start_ns)
            if auction is not None:
                turn.auctions.append(auction)

    # -- questions ---------------------------------------------------------------------------------------------------

    def contract(self, con_id: int) -> Contract | None:
        return self._listed.by_con_id.get(con_id) or find_unlisted(self._sessions, con_id)

    def contracts(
        self, *, symbol: str = "", sec_type: str = "", expiry: str = "", strike: float = 0.0, right: str = "", exchange: str = "",
        trading_class: str = "", local_symbol: str = "", multiplier: str = "",
    ) -> list[Contract]:  # fmt: skip
        listing = self._listed
        pool = listing.by_symbol.get(symbol, []) if symbol else list(listing.by_con_id.values())
        right = right[:1].upper() if right not in ("", "0", "?") else ""
        return [
            c
            for c in pool
            if (not sec_type or c.sec_type == sec_type)
            and (not expiry or c.expiry == expiry or (len(expiry) == 6 and c.contract_month == expiry))
            and (not strike or c.strike == strike)
            and (not right or c.right == right)
            and (
                not exchange
                or exchange == c.exchange
                or exchange == c.primary_exchange
                or exchange in c.valid_exchanges.split(",")
            )
            and (not trading_class or c.trading_class == trading_class)
            and (not local_symbol or c.local_symbol == local_symbol)
            and (not multiplier or c.multiplier == multiplier)
        ]

    def quote(self, con_id: int) -> Quote | None:
        instrument = self._instruments.get(con_id)
        if instrument is not None:
            return instrument.quote()
        option = unpack_option(con_id)
        if option is not None:
            listing, expiry, _, _ = option
            if self._sessions.is_session(expiry):
                return self._desk.quote(con_id, option, self._instruments[listing.con_id], self._now)
        return None

    def book(self, con_id: int) -> Book | None:
        instrument = self._instruments.get(con_id)
        return None if instrument is None else instrument.book()

    def expiries(self, symbol: str) -> list[str]:
        return list(self._listed.expiries.get(symbol, []))

    def chain(self, symbol: str) -> list[Quote]:
        quotes = (self.quote(contract.con_id) for contract in self._listed.options.get(symbol, []))
        return [quote for quote in quotes if quote is not None]

    def news(self, symbol: str, limit: int) -> list[tuple[int, str, float, float]]:
        if not any(listing.symbol == symbol for listing in EQUITIES):
            return []
        return news_items(self._seed, self._paths, self._sessions, symbol, self._now, limit)

    def bars(self, con_id: int, end_ns: int, duration_seconds: int, bar_seconds: int) -> list[Bar]:
        """`duration_seconds` is calendar time back from `end_ns`."""
        if bar_seconds < SLOT_SECONDS:
            raise ValueError(f"bar_seconds: at least {SLOT_SECONDS}, got {bar_seconds}")
        contract = self.contract(con_id)
        if contract is None:
            return []
        end_ns = min(end_ns, self._now)
        start_ns = end_ns - duration_seconds * 1_000_000_000
        terms = unpack_option(con_id)
        found: list[Bar] = []
        for session in self._sessions.within(start_ns, end_ns):
            if terms is not None:
                underlying = self._table(self._listed.by_con_id[contract.under_con_id], session)
                found += self._desk.bars(con_id, terms, bars_of(underlying, start_ns, end_ns, bar_seconds), session, bar_seconds)
            elif bar_seconds >= DAY_SECONDS:
                found += self._daily_bar(contract, session, start_ns, end_ns)
            else:
                found += bars_of(self._table(contract, session), start_ns, end_ns, bar_seconds)
        return found

    def _daily_bar(self, contract: Contract, session: Session, start_ns: int, end_ns: int) -> list[Bar]:
        if session.open_ns < start_ns or session.close_ns > end_ns:
            return []
        key = (contract.con_id, session.day)
        if key not in self._daily:
            self._daily[key] = bars_of(self._table(contract, session), session.open_ns, session.close_ns, DAY_SECONDS)[0]
        return [self._daily[key]]
