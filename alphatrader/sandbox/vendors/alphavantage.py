"""The Alpha Vantage stand-in: REALTIME_OPTIONS and NEWS_SENTIMENT at /alphavantage/query.

Answers are what the vendor really sends (sources.md §4): every field of an option row a string, HTTP 200 for every
refusal, greeks only with require_greeks=true and by the vendor's own convention (European, no dividends, whole calendar
days over 365 floored at one day, volatility on the vendor's coarse grid). Prices, volatility, volume and open interest
are the simulated market's. A key may make 600 calls in any 60 seconds of machine time.
"""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from flask import Blueprint, Response, request

from alphatrader.sandbox.market.types import Contract, Quote
from alphatrader.sandbox.vendors.black_scholes import greeks
from alphatrader.sandbox.vendors.exchange import answer
from alphatrader.sandbox.vendors.rates import SlidingWindow
from alphatrader.sandbox.vendors.world import VendorWorld

NEW_YORK = ZoneInfo("America/New_York")
CALLS_PER_MINUTE = 600
CHAIN_SECONDS = 1.0  # a chain is built at most this often
VOLATILITY_STEP = 5.0 / 512.0  # the vendor's implied volatilities lie this far apart: nine bisections of 0..5
MOST_NEWS = 1000

LIMITED = (
    "We have detected more than 600 requests in the last minute on your API key. Your premium plan's rate limit is 600 requests "
    "per minute: please spread out your requests."
)
WRONG_KEY = (
    "The **demo** API key is for demo purposes only. Please claim your API key at https://www.alphavantage.co/support/#api-key "
    "to explore our full API offerings."
)
NOT_ENTITLED = (
    "This is a premium endpoint. ***THE SAMPLE DATA SCHEMA BELOW IS ARTIFICIAL AND FOR ILLUSTRATION PURPOSES ONLY***. "
    "To access the actual data, please subscribe to either the 600 requests per minute or the 1200 requests per minute premium "
    "plan at https://www.alphavantage.co/premium/ if you would like to access realtime US options data for personal "
    "non-professional use."
)
ARTIFICIAL_ROW = {
    "contractID": "XXYYZZ999999C00020000",
    "symbol": "XXYYZZ",
    "expiration": "2099-99-99",
    "strike": "20.00",
    "type": "call",
    "last": "100.00",
    "mark": "100.10",
    "bid": "100.05",
    "bid_size": "100",
    "ask": "100.15",
    "ask_size": "100",
    "volume": "100",
    "open_interest": "100",
    "date": "2049-99-99",
    "implied_volatility": "0.23766",
    "delta": "0.17818",
    "gamma": "0.00317",
    "theta": "-0.02015",
    "vega": "0.90231",
    "rho": "0.71615",
}
SCORE_DEFINITION = (
    "x <= -0.35: Bearish; -0.35 < x <= -0.15: Somewhat-Bearish; -0.15 < x < 0.15: Neutral; 0.15 <= x < 0.35: Somewhat_Bullish; "
    "x >= 0.35: Bullish"
)
RELEVANCE_DEFINITION = "0 < x <= 1, with a higher score indicating higher relevance."


class AlphaVantage:
    name = "alphavantage"

    def __init__(self, world: VendorWorld) -> None:
        self._world = world
        self._limit = SlidingWindow(CALLS_PER_MINUTE, 60.0, world.machine_s)
        self._chains: dict[tuple[str, bool], tuple[float, list[dict[str, str]], bytes]] = {}
        self._chain_lock = threading.Lock()

    def blueprint(self) -> Blueprint:
        routes = Blueprint(self.name, __name__)
        routes.get("/query")(self.query)
        return routes

    def error(self, status: int, seconds: float) -> Response:
        if status == 429:  # this vendor refuses with 200 and a note
            return _information(LIMITED)
        return Response("Internal Server Error", status, {"Content-Type": "text/plain"})

    def query(self) -> Response:
        key, function = request.args.get("apikey", ""), request.args.get("function", "")
        credentials = self._world.credentials
        unentitled = bool(key) and key == credentials.alphavantage_unentitled_key
        if key != credentials.alphavantage_key and not unentitled:
            return _information(WRONG_KEY)
        if self._limit.admit() is not None:
            return _information(LIMITED)
        match function:
            case "REALTIME_OPTIONS":
                if unentitled:
                    return answer({"endpoint": "Realtime Options", "message": NOT_ENTITLED, "data": [ARTIFICIAL_ROW]})
                return self._options()
            case "NEWS_SENTIMENT":
                return self._news()
        return _error_message(f"This API function ({function}) does not exist.")

    def _options(self) -> Response:
        symbol = request.args.get("symbol", "").upper()
        if not symbol:
            return _error_message("Invalid API call. Please retry or visit the documentation for REALTIME_OPTIONS.")
        rows, body = self._chain(symbol, request.args.get("require_greeks", "false").lower() == "true")
        wanted = request.args.get("contract")
        if wanted:
            return answer(_envelope([row for row in rows if row["contractID"] == wanted]))
        return Response(body, 200, {"Content-Type": "application/json"})

    def _chain(self, symbol: str, with_greeks: bool) -> tuple[list[dict[str, str]], bytes]:
        now = self._world.machine_s()
        with self._chain_lock:
            held = self._chains.get((symbol, with_greeks))
            if held is not None and 0 <= now - held[0] < CHAIN_SECONDS:
                return held[1], held[2]
            with self._world.market_lock:
                market = self._world.market
                quoted = [(market.contract(quote.con_id), quote) for quote in market.chain(symbol)]
            today = datetime.fromtimestamp(self._world.now_ns() / 1e9, NEW_YORK).date()
            rows = [option_row(contract, quote, today, with_greeks) for contract, quote in quoted if contract is not None]
            rows.sort(key=lambda row: (row["expiration"], float(row["strike"]), row["type"]))
            body = msgspec.json.encode(_envelope(rows))
            self._chains[(symbol, with_greeks)] = (now, rows, body)
            return rows, body

    def _news(self) -> Response:
        args = request.args
        try:
            limit = min(int(args.get("limit", "50")), MOST_NEWS)
            earliest, latest = _news_time(args.get("time_from")), _news_time(args.get("time_to"))
        except ValueError:
            return _information(
                "Invalid inputs. Please refer to the API documentation https://www.alphavantage.co/documentation#newsapi"
            )
        tickers = [ticker for ticker in args.get("tickers", "").upper().split(",") if ticker]
        if not tickers or limit < 1:
            return _information(
                "Invalid inputs. Please refer to the API documentation https://www.alphavantage.co/documentation#newsapi"
            )
        articles: dict[tuple[int, str], dict[str, tuple[float, float]]] = {}
        with self._world.market_lock:
            for ticker in tickers:
                for ts_ns, headline, sentiment, relevance in self._world.market.news(ticker, MOST_NEWS):
                    articles.setdefault((ts_ns, headline), {})[ticker] = (sentiment, relevance)
        now_ns = self._world.now_ns()
        feed = [
            (ts_ns, headline, scores)
            for (ts_ns, headline), scores in articles.items()
            if len(scores) == len(tickers) and max(earliest or 0, 0) <= ts_ns <= min(latest or now_ns, now_ns)
        ]
        feed.sort(key=lambda item: item[0], reverse=args.get("sort", "LATEST").upper() != "EARLIEST")
        if args.get("sort", "").upper() == "RELEVANCE":
            feed.sort(key=lambda item: -max(relevance for _, relevance in item[2].values()))
        shown = [news_item(*item) for item in feed[:limit]]
        return answer(
            {
                "items": str(len(shown)),
                "sentiment_score_definition": SCORE_DEFINITION,
                "relevance_score_definition": RELEVANCE_DEFINITION,
                "feed": shown,
            }
        )


def option_row(contract: Contract, quote: Quote, today: date, with_greeks: bool) -> dict[str, str]:
    """One contract as the vendor writes it. A missing price is "0.00", which is how the vendor says there is none."""
    mark = (quote.bid + quote.ask) / 2 if quote.bid is not None and quote.ask is not None else quote.last
    expiry = date(int(contract.expiry[:4]), int(contract.expiry[4:6]), int(contract.expiry[6:8]))
    row = {
        "contractID": f"{contract.symbol}{contract.expiry[2:]}{contract.right}{round(contract.strike * 1000):08d}",
        "symbol": contract.symbol,
        "expiration": expiry.isoformat(),
        "strike": f"{contract.strike:.2f}",
        "type": "call" if contract.right == "C" else "put",
        "last": f"{quote.last or 0.0:.2f}",
        "mark": f"{mark or 0.0:.2f}",
        "bid": f"{quote.bid or 0.0:.2f}",
        "bid_size": str(quote.bid_size),
        "ask": f"{quote.ask or 0.0:.2f}",
        "ask_size": str(quote.ask_size),
        "volume": str(quote.volume),
        "open_interest": str(quote.open_interest or 0),
        "date": today.isoformat(),
    }
    if with_greeks and quote.implied_vol and quote.under_price:
        volatility = max(round(quote.implied_vol / VOLATILITY_STEP), 1) * VOLATILITY_STEP
        sensitivities = greeks(contract.right, quote.under_price, contract.strike, (expiry - today).days, volatility)
        row["implied_volatility"] = f"{volatility:.5f}"
        row.update({name: f"{value:.5f}" for name, value in sensitivities._asdict().items()})
    return row


def news_item(ts_ns: int, headline: str, scores: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """One article. Its overall score is the mean of its tickers' by relevance."""
    published = datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC)
    weight = sum(relevance for _, relevance in scores.values())
    overall = sum(score * relevance for score, relevance in scores.values()) / weight if weight else 0.0
    slug = "".join(letter if letter.isalnum() else "-" for letter in headline.lower())[:60].strip("-")
    return {
        "title": headline,
        "url": f"https://news.sandbox.invalid/{published:%Y%m%d%H%M%S}/{slug}",
        "time_published": f"{published:%Y%m%dT%H%M%S}",
        "authors": ["AlphaTrader sandbox"],
        "summary": f"{headline} (simulated news of the sandbox)",
        "banner_image": None,
        "source": "Sandbox Wire",
        "category_within_source": "n/a",
        "source_domain": "news.sandbox.invalid",
        "topics": [{"topic": "Financial Markets", "relevance_score": "1.0"}],
        "overall_sentiment_score": round(overall, 6),
        "overall_sentiment_label": sentiment_label(overall),
        "ticker_sentiment": [
            {
                "ticker": ticker,
                "relevance_score": f"{relevance:.6f}",
                "ticker_sentiment_score": f"{score:.6f}",
                "ticker_sentiment_label": sentiment_label(score),
            }
            for ticker, (score, relevance) in scores.items()
        ],
    }


def sentiment_label(score: float) -> str:
    if score <= -0.35:
        return "Bearish"
    if score <= -0.15:
        return "Somewhat-Bearish"
    if score < 0.15:
        return "Neutral"
    return "Somewhat-Bullish" if score < 0.35 else "Bullish"


def _envelope(rows: list[dict[str, str]]) -> dict[str, Any]:
    return {"endpoint": "Realtime Options", "message": "success", "data": rows}


def _information(text: str) -> Response:
    return answer({"Information": text})


def _error_message(text: str) -> Response:
    return answer({"Error Message": text})


def _news_time(text: str | None) -> int | None:
    """YYYYMMDDTHHMM in UTC as nanoseconds."""
    if text is None:
        return None
    return int(datetime.strptime(text, "%Y%m%dT%H%M").replace(tzinfo=UTC).timestamp()) * 1_000_000_000
