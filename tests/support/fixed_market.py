"""A market that only moves when the test says so: two stocks, one index, two futures and a small SPY chain.

`quote_set(con_id, bid=..., ask=...)` changes a quote, `trade(...)` prints, `book_set(...)` sets a book; each shows up
in the next `step`. It satisfies the `Market` protocol of `alphatrader/sandbox/market/types.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from alphatrader.sandbox.gateway import hours
from alphatrader.sandbox.market.types import Auction, Bar, Book, Contract, Print, Quote, Row, Step

AAPL, SPY, SPX, ES_DEC, ES_MAR = 265598, 756733, 416904, 495512563, 495512564
SPY_OPTIONS = 700_000_000
STRIKES = (590.0, 595.0, 600.0, 605.0, 610.0)
NS = 10**9


def stock(con_id: int, symbol: str, name: str, stock_type: str) -> Contract:
    return Contract(
        con_id,
        symbol,
        "STK",
        primary_exchange="NASDAQ" if stock_type == "COMMON" else "ARCA",
        local_symbol=symbol,
        trading_class="NMS" if stock_type == "COMMON" else symbol,
        long_name=name,
        stock_type=stock_type,
        valid_exchanges="SMART,ISLAND,ARCA,BATS,IEX",
    )


def future(con_id: int, local_symbol: str, expiry: str) -> Contract:
    return Contract(
        con_id,
        "ES",
        "FUT",
        exchange="CME",
        expiry=expiry,
        multiplier="50",
        local_symbol=local_symbol,
        trading_class="ES",
        min_tick=0.25,
        long_name="E-mini S&P 500",
        contract_month=expiry[:6],
        under_con_id=SPX,
        under_symbol="ES",
        under_sec_type="IND",
        time_zone="US/Central",
        valid_exchanges="CME",
    )


class FixedMarket:
    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        today = f"{hours.new_york(now_ns):%Y%m%d}"
        self._contracts: dict[int, Contract] = {}
        for contract in (
            stock(AAPL, "AAPL", "APPLE INC", "COMMON"),
            stock(SPY, "SPY", "SPDR S&P 500 ETF TRUST", "ETF"),
            Contract(SPX, "SPX", "IND", exchange="CBOE", local_symbol="SPX", long_name="S&P 500 Index", valid_exchanges="CBOE"),
            future(ES_DEC, "ESZ6", "20261218"),
            future(ES_MAR, "ESH7", "20270319"),
        ):
            self._contracts[contract.con_id] = contract
        con_id = SPY_OPTIONS
        for expiry in (today, "20261218"):
            for strike in STRIKES:
                for right in ("C", "P"):
                    self._contracts[con_id] = Contract(
                        con_id,
                        "SPY",
                        "OPT",
                        expiry=expiry,
                        strike=strike,
                        right=right,  # type: ignore[arg-type]
                        multiplier="100",
                        local_symbol=f"SPY   {expiry[2:]}{right}{int(strike * 1000):08d}",
                        trading_class="SPY",
                        long_name="SPDR S&P 500 ETF TRUST",
                        contract_month=expiry[:6],
                        under_con_id=SPY,
                        under_symbol="SPY",
                        under_sec_type="STK",
                        valid_exchanges="SMART,CBOE,AMEX",
                    )
                    con_id += 1
        self._quotes: dict[int, Quote] = {}
        self._books: dict[int, Book] = {}
        for contract in self._contracts.values():
            self._quotes[contract.con_id] = self._first_quote(contract)
        for con_id in (AAPL, SPY, ES_DEC):
            self.book_ladder(con_id)
        self._changes: dict[str, list[Any]] = {}
        self.bar_volume: dict[int, int] = {}
        """Volume of each past bar of a contract; 1000 without an entry."""
        self._clear()

    # --- what a test does

    def option(self, strike: float = 600.0, right: str = "C", expiry: str = "20261218") -> Contract:
        return self.contracts(symbol="SPY", sec_type="OPT", strike=strike, right=right, expiry=expiry)[0]

    def relist(self, con_id: int, **changes: Any) -> None:
        """The broker lists it otherwise."""
        self._contracts[con_id] = replace(self._contracts[con_id], **changes)

    def option_of(self, symbol: str) -> Contract:
        """An option of another underlying, like the one of SPY."""
        like = self.option()
        made = replace(like, con_id=max(self._contracts) + 1, symbol=symbol, trading_class=symbol, under_symbol=symbol)
        made = replace(made, local_symbol=like.local_symbol.replace("SPY   ", f"{symbol:<6}"))
        self._contracts[made.con_id] = made
        self._quotes[made.con_id] = replace(self._quotes[like.con_id], con_id=made.con_id)
        return made

    def quote_set(self, con_id: int, **changes: Any) -> None:
        self._quotes[con_id] = replace(self._quotes[con_id], **changes)
        self._changes["quotes"].append(con_id)
        if self._contracts[con_id].sec_type == "OPT":
            self._changes["repriced"].append(self._contracts[con_id].symbol)

    def trade(self, con_id: int, price: float, size: int, **extra: Any) -> Print:
        print_ = Print(con_id, self.now_ns, price, size, extra.pop("exchange", "ARCA"), **extra)
        quote = self._quotes[con_id]
        self.quote_set(con_id, last=price, last_size=size, last_ts_ns=self.now_ns, volume=quote.volume + size)
        self._changes["prints"].append(print_)
        return print_

    def book_set(self, con_id: int, bids: list[Row], asks: list[Row]) -> None:
        self._books[con_id] = Book(con_id, self.now_ns, tuple(bids), tuple(asks))
        self._changes["books"].append(con_id)

    def book_ladder(self, con_id: int) -> None:
        quote, tick = self._quotes[con_id], self._contracts[con_id].min_tick
        venues = ("ISLAND", "ARCA", "BATS", "IEX")
        assert quote.bid is not None and quote.ask is not None
        bids = [Row(round(quote.bid - i * tick, 4), 100 + i, venues[i % 4]) for i in range(8)]
        asks = [Row(round(quote.ask + i * tick, 4), 200 + i, venues[i % 4]) for i in range(8)]
        self._books[con_id] = Book(con_id, self.now_ns, tuple(bids), tuple(asks))

    def bar(self, con_id: int, bar: Bar) -> None:
        self._changes["bars"].append((con_id, bar))

    def auction(self, auction: Auction) -> None:
        self._changes["auctions"].append(auction)

    # --- Market

    def step(self, now_ns: int) -> Step:
        self.now_ns = now_ns
        changes = self._changes
        step = Step(now_ns, *(tuple(changes[k]) for k in ("quotes", "books", "prints", "bars", "halts", "auctions", "repriced")))
        self._clear()
        return step

    def contract(self, con_id: int) -> Contract | None:
        return self._contracts.get(con_id)

    def contracts(self, **wanted: Any) -> list[Contract]:
        found = []
        for contract in self._contracts.values():
            if all(self._fits(contract, name, value) for name, value in wanted.items() if value):
                found.append(contract)
        return found

    def quote(self, con_id: int) -> Quote | None:
        return self._quotes.get(con_id)

    def book(self, con_id: int) -> Book | None:
        return self._books.get(con_id)

    def bars(self, con_id: int, end_ns: int, duration_seconds: int, bar_seconds: int) -> list[Bar]:
        price = self._quotes[con_id].last or 1.0
        found: list[Bar] = []
        start = end_ns - duration_seconds * NS
        day = hours.new_york(start).date()
        while hours.to_ns(day, hours.OPEN) < end_ns:
            bounds = hours.session(day)
            if bounds is not None:
                step = min(bar_seconds * NS, bounds[1] - bounds[0])
                for at in range(bounds[0], bounds[1], step):
                    if start <= at and at + step <= end_ns:
                        found.append(Bar(at, price, price + 1, price - 1, price, self.bar_volume.get(con_id, 1000), price, 10))
            day += hours.ONE_DAY
        return found

    def expiries(self, symbol: str) -> list[str]:
        return sorted({c.expiry for c in self._contracts.values() if c.symbol == symbol and c.sec_type == "OPT"})

    def chain(self, symbol: str) -> list[Quote]:
        return [self._quotes[c.con_id] for c in self._contracts.values() if c.symbol == symbol and c.sec_type == "OPT"]

    def news(self, symbol: str, limit: int) -> list[tuple[int, str, float, float]]:
        return []

    # --- inside

    def _clear(self) -> None:
        self._changes = {name: [] for name in ("quotes", "books", "prints", "bars", "halts", "auctions", "repriced")}

    @staticmethod
    def _fits(contract: Contract, name: str, value: Any) -> bool:
        have = getattr(contract, name)
        return have.startswith(value) if name == "expiry" else have == value

    def _first_quote(self, contract: Contract) -> Quote:
        middle, spread, size = {
            "AAPL": (250.0, 0.02, 300),
            "SPY": (600.0, 0.02, 500),
            "ES": (6000.0, 0.5, 20),
            "SPX": (6000.0, 0.0, 0),
        }[contract.symbol]
        greeks: dict[str, Any] = {}
        if contract.sec_type == "OPT":
            inner = max(0.0, (600.0 - contract.strike) * (1 if contract.right == "C" else -1))
            middle, spread, size = round(inner + 4.0, 2), 0.10, 10
            greeks = {
                "implied_vol": 0.15,
                "delta": 0.5 if contract.right == "C" else -0.5,
                "gamma": 0.02,
                "theta": -0.1,
                "vega": 0.6,
                "open_interest": 1000,
                "under_price": 600.0,
            }
        bid = None if contract.sec_type == "IND" else round(middle - spread / 2, 4)
        ask = None if contract.sec_type == "IND" else round(middle + spread / 2, 4)
        return Quote(
            contract.con_id,
            self.now_ns,
            bid,
            size,
            ask,
            size,
            "PQ",
            "ZQ",
            middle,
            100,
            "P",
            self.now_ns,
            10_000,
            100,
            middle,
            middle,
            middle + 1,
            middle - 1,
            middle - 0.5,
            0,
            **greeks,
        )
