"""What is listed on a trading date: stocks, indices, futures months and option chains, with con_ids that never change.

A con_id is packed from the contract's own terms, so that it is the same in every run and a contract that has left the
listing (an expired option that somebody held) can still be unpacked. Made by `simulation.py` when the trading date rolls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from .business_days import Sessions
from .expiry_rules import ROLLS, RULES, listed_months, option_expiries
from .instruments import EQUITIES, FUTURES, INDICES, MONTH_CODES, SPECS, EquityListing, FutureListing
from .types import Contract
from .venues import LIT

_FUTURE_BASE, _OPTION_BASE = 400_000_000, 1 << 30  # options end at 1.5 << 30
_EPOCH = date(2024, 1, 1)
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_SMART = ",".join(("SMART", *LIT))
_OPTION_EXCHANGES = "SMART,CBOE,AMEX,PHLX,ISE,PSE,BOX,BATS,NASDAQOM,MIAX,EDGX,EMERALD,GEMINI,MERCURY,PEARL"
_EQUITY_INDEX = {listing.symbol: i for i, listing in enumerate(EQUITIES)}


def equity_contract(listing: EquityListing) -> Contract:
    return Contract(
        con_id=listing.con_id, symbol=listing.symbol, sec_type="STK", primary_exchange=listing.primary_exchange,
        local_symbol=listing.symbol, trading_class=listing.symbol if listing.stock_type == "COMMON" else "NMS",
        long_name=listing.long_name, stock_type=listing.stock_type, valid_exchanges=_SMART,
    )  # fmt: skip


def future_contract(listing: FutureListing, year: int, month: int, last_day: date) -> Contract:
    local = f"{listing.root}{MONTH_CODES[month - 1]}{year % 10}"
    if listing.spelled_local_symbol:
        local = f"{listing.root:<5}{_MONTH_NAMES[month - 1]} {year % 100:02d}"
    return Contract(
        con_id=_FUTURE_BASE + (FUTURES.index(listing) << 16) + (year - 2000) * 12 + month, symbol=listing.symbol, sec_type="FUT",
        exchange=listing.exchange, expiry=f"{last_day:%Y%m%d}", multiplier=listing.multiplier, local_symbol=local,
        trading_class=listing.root, min_tick=1 / SPECS[listing.root].per_unit, long_name=listing.long_name,
        contract_month=f"{year}{month:02d}", under_symbol=listing.symbol, under_sec_type="IND", valid_exchanges=listing.exchange,
    )  # fmt: skip


def option_con_id(symbol: str, expiry: date, strike: float, right: str) -> int:
    """29 bits: underlying, days since 2024, strike in halves, right."""
    days, halves = (expiry - _EPOCH).days, round(strike * 2)
    return _OPTION_BASE | _EQUITY_INDEX[symbol] << 25 | days << 13 | halves << 1 | (right == "P")


def unpack_option(con_id: int) -> tuple[EquityListing, date, float, str] | None:
    if con_id < _OPTION_BASE or con_id >= _OPTION_BASE + (1 << 29):
        return None
    index, halves = con_id >> 25 & 0xF, con_id >> 1 & 0xFFF
    if index >= len(EQUITIES) or not halves:
        return None
    return EQUITIES[index], _EPOCH + timedelta(days=con_id >> 13 & 0xFFF), halves / 2, "P" if con_id & 1 else "C"


def option_contract(listing: EquityListing, expiry: date, strike: float, right: str) -> Contract:
    return Contract(
        con_id=option_con_id(listing.symbol, expiry, strike, right), symbol=listing.symbol, sec_type="OPT",
        expiry=f"{expiry:%Y%m%d}", strike=strike, right="P" if right == "P" else "C", multiplier="100",
        local_symbol=f"{listing.symbol:<6}{expiry:%y%m%d}{right}{round(strike * 1000):08d}", trading_class=listing.symbol,
        long_name=listing.long_name, contract_month=f"{expiry:%Y%m}", under_con_id=listing.con_id, under_symbol=listing.symbol,
        under_sec_type="STK", valid_exchanges=_OPTION_EXCHANGES,
    )  # fmt: skip


def _ladder(centre: float, spacing: float, half_width: float) -> set[float]:
    low, high = int(centre * (1 - half_width) / spacing), int(centre * (1 + half_width) / spacing) + 1
    return {k * spacing for k in range(max(low, 1), high + 1)}


def strikes(listing: EquityListing, centre: float, days: int, *, traded_most: bool) -> list[float]:
    """Dense near the money for the expiries strategies trade (today, next, about two weeks), wider spaced elsewhere."""
    wild = listing.atm_vol > 0.45
    if not listing.daily_expiries:
        found = _ladder(centre, listing.coarse_strike, 0.11) | _ladder(centre, listing.fine_strike, 0.03)
        return sorted(found | _ladder(centre, listing.coarse_strike * 2, 0.18 if wild else 0.11))
    coarse = listing.coarse_strike
    if not traded_most:
        return sorted(_ladder(centre, coarse * 2, 0.05) | _ladder(centre, coarse, 0.025))
    found = _ladder(centre, coarse * 2, 0.10) | _ladder(centre, coarse, 0.06)
    return sorted(found | _ladder(centre, listing.fine_strike, 0.016) if days < 7 else found)


@dataclass(frozen=True, slots=True)
class FutureMonth:
    """A listed contract month; rank 0 is the front, 1 the next, -1 one that has been rolled out of or hardly trades."""

    listing: FutureListing
    contract: Contract
    rank: int


def future_months(sessions: Sessions, future: FutureListing, today: date) -> list[FutureMonth]:
    """The listed months of a root on a date, nearest first."""
    first_live = today + timedelta(days=1) if future.stops_before_open else today
    months, rank = [], 0
    for year, month, last_day in listed_months(sessions, future.rule, future.months, first_live, future.listed):
        live = MONTH_CODES[month - 1] in future.liquid and today < ROLLS[future.roll](sessions, year, month, last_day)
        months.append(FutureMonth(future, future_contract(future, year, month, last_day), rank if live else -1))
        rank += live
    return months


class Listing:
    """Everything listed on one trading date."""

    def __init__(self, sessions: Sessions, today: date, spot: Callable[[str], float]) -> None:
        """`spot` gives the price, fixed for the date, around which strikes are listed."""
        self.today = today
        self.by_con_id: dict[int, Contract] = {}
        self.by_symbol: dict[str, list[Contract]] = {}
        self.options: dict[str, list[Contract]] = {}
        self.expiries: dict[str, list[str]] = {}
        self.futures: list[FutureMonth] = []
        self.equities: list[tuple[EquityListing, Contract]] = []
        self.indices: list[Contract] = []
        for listing in EQUITIES:
            contract = equity_contract(listing)
            self.equities.append((listing, contract))
            self._add(contract)
            self._list_options(sessions, listing, spot(listing.symbol))
        for future in FUTURES:
            for month in future_months(sessions, future, today):
                self.futures.append(month)
                self._add(month.contract)
        for index in INDICES:
            contract = Contract(
                con_id=index.con_id, symbol=index.symbol, sec_type="IND", currency=index.currency, exchange=index.exchange,
                local_symbol=index.symbol, trading_class=index.symbol, long_name=index.long_name, valid_exchanges=index.exchange,
            )  # fmt: skip
            self.indices.append(contract)
            self._add(contract)

    def _add(self, contract: Contract) -> None:
        self.by_con_id[contract.con_id] = contract
        self.by_symbol.setdefault(contract.symbol, []).append(contract)

    def _list_options(self, sessions: Sessions, listing: EquityListing, centre: float) -> None:
        days = option_expiries(sessions, self.today, daily=listing.daily_expiries)
        fortnight = min(days, key=lambda day: abs((day - self.today).days - 14))
        chain = self.options[listing.symbol] = []
        for i, expiry in enumerate(days):
            traded_most = i < 2 or expiry == fortnight
            for strike in strikes(listing, centre, (expiry - self.today).days, traded_most=traded_most):
                for right in "CP":
                    contract = option_contract(listing, expiry, strike, right)
                    chain.append(contract)
                    self._add(contract)
        self.expiries[listing.symbol] = [f"{day:%Y%m%d}" for day in days]


def find_unlisted(sessions: Sessions, con_id: int) -> Contract | None:
    """A contract that has left the listing, or is not in it yet, from its con_id alone."""
    option = unpack_option(con_id)
    if option is not None:
        listing, expiry, strike, right = option
        return option_contract(listing, expiry, strike, right) if sessions.is_session(expiry) else None
    index, months = divmod(con_id - _FUTURE_BASE, 1 << 16)
    if 0 <= index < len(FUTURES) and 12 < months < 1200:
        year, month = divmod(months - 1, 12)
        if MONTH_CODES[month] in FUTURES[index].months:
            last_day = RULES[FUTURES[index].rule](sessions, 2000 + year, month + 1)
            return future_contract(FUTURES[index], 2000 + year, month + 1, last_day)
    return None
