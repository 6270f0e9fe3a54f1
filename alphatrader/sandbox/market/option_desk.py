"""Quotes and bars of options, from the underlying's state now and what `options.py` says they are worth.

Used by `simulation.py`. Volatility follows the VIX level of the day before and falls as the underlying rises in the session.
"""

from __future__ import annotations

from datetime import date
from math import exp, log

from .business_days import Session, Sessions
from .hashing import mix, unit
from .instrument import Instrument
from .instruments import SPECS, EquityListing
from .option_flow import OptionFlow
from .options import Interest, bid_ask, greeks, implied_vol, interest, price, years_to
from .paths import SLOT_NS, Paths
from .types import Bar, Quote

Terms = tuple[EquityListing, date, float, str]
_VOL_BETA = 2.0  # fall of implied volatility, relative, per relative rise of the underlying today
_TIGHT = {"SPY", "QQQ", "IWM"}


class OptionDesk:
    def __init__(self, seed: int, sessions: Sessions, paths: Paths) -> None:
        self._seed, self._sessions, self._paths = seed, sessions, paths
        self._interest: dict[int, Interest] = {}
        self._last: dict[int, tuple[int, float]] = {}
        self._session: Session | None = None
        self._levels: dict[tuple[str, date], tuple[float, float]] = {}
        self._closes: dict[date, int] = {}
        self._flows: dict[tuple[str, date], OptionFlow] = {}

    def start_session(self, session: Session) -> None:
        self._session = session
        self._interest.clear()
        self._last.clear()
        self._levels.clear()
        self._flows.clear()

    def _flow(self, symbol: str, session: Session) -> OptionFlow:
        flow = self._flows.get((symbol, session.day))
        if flow is None:
            episodes = self._paths.session(symbol, session).episodes
            slots = (session.close_ns - session.open_ns) // SLOT_NS
            flow = self._flows[symbol, session.day] = OptionFlow(self._seed, symbol, session.day, slots, episodes)
        return flow

    def _atm(self, listing: EquityListing, session: Session, spot: float) -> float:
        levels = self._levels.get((listing.symbol, session.day))
        if levels is None:
            before = self._sessions.before(session).day
            vix = exp(0.7 * (self._paths.level("VIX", before) - log(SPECS["VIX"].base)))
            levels = self._levels[listing.symbol, session.day] = (vix, self._paths.level(listing.symbol, before))
        level, moved = levels[0], log(spot) - levels[1]
        sign = -1.0 if listing.symbol == "VXX" else 1.0  # volatility of volatility rises with it
        return listing.atm_vol * level * max(0.5, min(2.0, 1 - sign * _VOL_BETA * moved))

    def _close_of(self, expiry: date) -> int:
        closes = self._closes.get(expiry)
        if closes is None:
            closes = self._closes[expiry] = self._sessions.on(expiry).close_ns
        return closes

    def _interest_of(self, con_id: int, terms: Terms, session: Session) -> Interest:
        found = self._interest.get(con_id)
        if found is None:
            listing, expiry, strike, right = terms
            before = self._sessions.before(session).day
            found = self._interest[con_id] = interest(
                self._seed, con_id, str(session.day), strike, right, exp(self._paths.level(listing.symbol, before)),
                (expiry - session.day).days, popular=listing.symbol in _TIGHT,
                third_friday=expiry.weekday() == 4 and 15 <= expiry.day <= 21,
            )  # fmt: skip
        return found

    def quote(self, con_id: int, terms: Terms, underlying: Instrument, now_ns: int) -> Quote:
        listing, expiry, strike, right = terms
        table = underlying.table
        session = table.session
        spot = underlying.mid
        at_ns = min(now_ns, session.close_ns)
        expiry_ns = self._close_of(expiry)
        held = self._interest_of(con_id, terms, session)
        tight = listing.symbol in _TIGHT
        slot = min((at_ns - session.open_ns) // SLOT_NS, table.slots)
        volume = int(held.day_volume * self._flow(listing.symbol, session).pace[slot])
        last, last_ns = self._last_trade(con_id, terms, underlying, held, slot)
        expired = expiry_ns <= now_ns
        if expired:
            intrinsic = max(0.0, spot - strike if right == "C" else strike - spot)
            return self._made(
                con_id, expiry_ns, None, 0, None, 0, round(intrinsic, 2), last_ns, volume, underlying, held, None, spot
            )
        years = years_to(expiry_ns, at_ns)
        vol = implied_vol(self._atm(listing, session, spot), spot, strike, years)
        bid, ask = bid_ask(price(spot, strike, years, vol, right), tight=tight)
        risks = (vol, *greeks(spot, strike, years, vol, right))
        if underlying.halted:
            return self._made(con_id, underlying.ts_ns, None, 0, None, 0, last, last_ns, volume, underlying, held, risks, spot)
        if now_ns >= session.close_ns:  # the market is shut: a wide quote stands
            wide = round(0.05 + 0.1 * ask, 2)
            bid, ask = (round(bid - wide, 2) if bid is not None and bid > wide else None), round(ask + wide, 2)
        base = mix(held.key, slot // 2)
        bid_size = 0 if bid is None else int((12 if tight else 4) + (250 if tight else 60) * unit(base, 1) ** 2)
        ask_size = int((12 if tight else 4) + (250 if tight else 60) * unit(base, 2) ** 2)
        ts_ns = underlying.ts_ns
        return self._made(con_id, ts_ns, bid, bid_size, ask, ask_size, last, last_ns, volume, underlying, held, risks, spot)

    @staticmethod
    def _made(con_id: int, ts_ns: int, bid: float | None, bid_size: int, ask: float | None, ask_size: int, last: float | None,
              last_ns: int, volume: int, underlying: Instrument, held: Interest,
              risks: tuple[float, float, float, float, float] | None, spot: float) -> Quote:  # fmt: skip
        vol, delta, gamma, theta, vega = risks or (None, None, None, None, None)
        return Quote(
            con_id=con_id, ts_ns=ts_ns, bid=bid, bid_size=bid_size, ask=ask, ask_size=ask_size,
            bid_exchanges="CX" if bid is not None else "", ask_exchanges="CX" if ask is not None else "", last=last,
            last_size=1 + held.key % 9 if last is not None else 0, last_exchange="CBOE" if last is not None else "",
            last_ts_ns=last_ns, volume=volume, trade_count=volume // 6, vwap=last or 0.0, open=None, high=None, low=None,
            prev_close=None, halted=underlying.halted, implied_vol=vol, delta=delta, gamma=gamma, theta=theta, vega=vega,
            open_interest=held.open_interest, under_price=spot,
        )  # fmt: skip

    def _last_trade(
        self, con_id: int, terms: Terms, underlying: Instrument, held: Interest, slot: int
    ) -> tuple[float | None, int]:
        """Trades come at a contract's own pace; the last one is priced off the underlying at its instant."""
        table = underlying.table
        every = max(1, min(table.slots, table.slots * 4 // max(1, held.day_volume)))
        at = (slot - held.key % every) // every * every + held.key % every
        if at <= 0 or not held.day_volume:
            return None, 0
        ts_ns = table.session.open_ns + at * SLOT_NS
        cached = self._last.get(con_id)
        if cached is not None and cached[0] == at:
            return cached[1], ts_ns
        spot = (int(table.bid[at]) + int(table.spread[at]) / 2) / table.per_unit
        theoretical = self._value(terms, table.session, spot, ts_ns)
        bid, ask = bid_ask(theoretical, tight=terms[0].symbol in _TIGHT)
        demand = self._flow(terms[0].symbol, table.session).demand[at - 1]  # of the slot that `at` ends
        bought = unit(held.key, at) < 0.5 + 0.5 * (demand if terms[3] == "C" else -demand)
        traded = ask if bid is None or bought else bid
        self._last[con_id] = (at, traded)
        return traded, ts_ns

    def _value(self, terms: Terms, session: Session, spot: float, at_ns: int) -> float:
        listing, expiry, strike, right = terms
        years = years_to(self._close_of(expiry), at_ns)
        return price(spot, strike, years, implied_vol(self._atm(listing, session, spot), spot, strike, years), right)

    def bars(self, con_id: int, terms: Terms, underlying: list[Bar], session: Session, bar_seconds: int) -> list[Bar]:
        """The option's value along the underlying's bars, in cents."""
        if terms[1] < session.day:
            return []
        slots = (session.close_ns - session.open_ns) // SLOT_NS
        held = self._interest_of(con_id, terms, session) if session == self._session else None
        traded = None if held is None else (held.day_volume * self._flow(terms[0].symbol, session).pace).astype(int)
        made = []
        for bar in underlying:
            first = (bar.ts_ns - session.open_ns) // SLOT_NS
            past = min(first + max(1, bar_seconds // 5), slots)
            ends = session.open_ns + past * SLOT_NS - 1
            points = ((bar.open, bar.ts_ns), (bar.high, bar.ts_ns), (bar.low, bar.ts_ns), (bar.close, ends))
            values = [round(self._value(terms, session, spot, at), 2) for spot, at in points]
            volume = 0 if traded is None else int(traded[past] - traded[first])
            wap = round(sum(values) / 4, 4)
            made.append(Bar(bar.ts_ns, values[0], max(values), min(values), values[3], volume, wap, volume // 6))
        return made
