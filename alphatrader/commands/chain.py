"""`alphatrader chain FILE --spot S [--at TIME] [--rate R]`: exposure of a saved Alpha Vantage REALTIME_OPTIONS answer.

The vendor's decoder, the admission of rows and the exposure are the live system's own. Needs no server.
Exit codes: 0 shown, 1 the file holds no chain that can be priced (the reason is told), 2 used wrongly or the file cannot be read.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from alphatrader.clients.alphavantage.answers import ChainAnswer
from alphatrader.clients.alphavantage.answers import chain as decode
from alphatrader.clients.alphavantage.errors import AlphaVantageError
from alphatrader.commands import DONE, MISUSED, WRONG
from alphatrader.commands.access import console, print_json, say
from alphatrader.contract.settings import Settings
from alphatrader.core.analytics.exposure import CONVENTION, Exposure, prepare
from alphatrader.core.analytics.flip import zero_gamma_flip
from alphatrader.core.analytics.pricing import measure
from alphatrader.core.options.columns import admit, occ_names
from alphatrader.core.options.settlement import end_of
from alphatrader.runtime.calendar import CalendarError, nyse
from alphatrader.runtime.clock import EXCHANGE, exchange_datetime, instant, last_known_clock
from alphatrader.runtime.settings import data_place, load

MOST_SPOT: Final = 1e7
"""As the vendor's decoder takes a strike for."""
_GZIP: Final = b"\x1f\x8b"
NAMED: Final = 8
"""Dropped rows of one reason that the table names."""


class _Named(msgspec.Struct):
    symbol: Any = None


class _Answer(msgspec.Struct):
    data: list[_Named] = msgspec.field(default_factory=list)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="the answer as the vendor sent it (JSON)")
    parser.add_argument("--spot", type=float, required=True, help="price of the underlying, USD")
    parser.add_argument(
        "--at", help="instant to price at, ISO 8601; New York time unless it names a zone. Default: the mode's market time"
    )
    parser.add_argument("--rate", type=float, help="continuous annual rate, 0.04 for 4 %%. Default: options.risk_free_rate")
    parser.add_argument("--symbol", type=str.upper, help="the underlying. Default: the one most rows name")


def run(args: argparse.Namespace) -> int:
    settings = load()
    rate = settings.options.risk_free_rate if args.rate is None else args.rate
    if not 0 < args.spot < MOST_SPOT:
        return _misused(f"--spot must be a price above 0 and under {MOST_SPOT:,.0f}, not {args.spot}")
    if not (math.isfinite(rate) and abs(rate) <= 1):
        return _misused(f"--rate must be a share a year within -1 and 1 (0.04 for 4 %), not {rate}")
    try:
        at_ns = _instant(args.at) if args.at is not None else last_known_clock(data_place(settings), settings.mode).market_ns()
        today = nyse().current(at_ns).name.replace("-", "")
    except (ValueError, CalendarError, OverflowError) as error:
        return _misused(f"--at: {error}")
    try:
        body = args.file.read_bytes()
    except OSError as error:
        return _misused(f"{args.file}: cannot be read: {error.strerror}")
    if not body.strip():
        return _wrong(args.file, "the file is empty")
    if body.startswith(_GZIP):
        return _wrong(args.file, "the file is compressed (gzip): unpack it first")
    symbol = args.symbol or _symbol(body)
    try:
        answer = decode(body, symbol, settings.options.max_rows)
    except AlphaVantageError as error:
        return _wrong(args.file, str(error))
    return _show(args, settings, symbol, answer, at_ns, today, rate)


def _show(
    args: argparse.Namespace,
    settings: Settings,
    symbol: str,
    answer: ChainAnswer,
    at_ns: int,
    today: str,
    rate: float,
) -> int:
    end = end_of(symbol, nyse().open_of, nyse().close_of)
    columns, refused = admit(answer.rows, at_ns, end)
    ends = {row.expiry: at for row in columns.rows if (at := end(row.expiry)) is not None}
    prepared = prepare(columns.rows, ends, at_ns)
    left_out = [*refused, *prepared.left_out]
    names = occ_names(symbol, [row for row, _ in left_out])
    dropped = [*answer.left_out, *zip(names, (reason for _, reason in left_out), strict=True)]
    found = measure(prepared, args.spot, at_ns, rate, today)
    if found is None:
        reasons = ", ".join(f"{reason} {n}" for reason, n in Counter(reason for _, reason in dropped).most_common())
        return _wrong(args.file, f"no row of {symbol} can be priced at {_said(at_ns)}: {reasons}")
    flip = zero_gamma_flip(prepared, args.spot, at_ns, rate, settings.analytics.flip_range)
    result = _result(symbol, answer.as_of, at_ns, rate, found, flip, settings.analytics.flip_range, dropped)
    if args.json:
        print_json(result)
    else:
        _table(result, found)
    return DONE


def _result(
    symbol: str,
    as_of: date,
    at_ns: int,
    rate: float,
    e: Exposure,
    flip: float | None,
    share: float,
    dropped: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """Everything of the exposure under its own names, with what it was computed from."""
    return {
        "symbol": symbol,
        "as_of": as_of.isoformat(),
        "at": exchange_datetime(at_ns).isoformat(),
        "rate": rate,
        "convention": CONVENTION,
        "units": {"gex_1pct": "USD of delta per 1 % move", "gex_1usd": "USD of delta per $1 move", "dex": "USD of delta"},
        **asdict(e),
        "without_zero_dte_1pct": e.gex_1pct - e.zero_dte_1pct,
        "flip": flip,
        "flip_range": share,
        "dropped": dict(Counter(reason for _, reason in dropped)),
        "dropped_total": len(dropped),
        "dropped_rows": [{"row": name, "reason": reason} for name, reason in dropped],
    }


def _table(result: dict[str, Any], e: Exposure) -> None:
    from rich.table import Table

    flip, share = result["flip"], result["flip_range"]
    say(f"{result['symbol']} {result['at']}, spot {e.spot:g}, rate {result['rate']:g}, {e.rows} rows of {result['as_of']}")
    say(f"Convention: {CONVENTION}")
    say(f"GEX        {e.gex_1pct:+,.0f} USD per 1 %   {e.gex_1usd:+,.0f} USD per $1   gross {e.gross_1pct:,.0f} per 1 %")
    say(f"  0DTE     {e.zero_dte_1pct:+,.0f} USD per 1 %   without it {result['without_zero_dte_1pct']:+,.0f}")
    say(f"DEX net    {e.dex_net:+,.0f} USD   dealer {e.dex_dealer:+,.0f}   0DTE net {e.dex_zero_dte:+,.0f}")
    say(f"Call wall  {_price(e.call_wall)}   put wall {_price(e.put_wall)}")
    say(f"Flip       {f'{flip:.4f}' if flip is not None else f'none within {share:.0%} of spot'}")
    table = Table("Expiry", "GEX per 1 %", "DEX net", box=None)
    for expiry, gex in e.by_expiry.items():
        table.add_row(expiry, f"{gex:+,.0f}", f"{e.dex_by_expiry[expiry]:+,.0f}")
    console().print(table)
    for reason, n in sorted(result["dropped"].items(), key=lambda item: -item[1]):
        names = [one["row"] for one in result["dropped_rows"] if one["reason"] == reason]
        more = f" and {n - NAMED} more: --json names all" if n > NAMED else ""
        say(f"Dropped    {n:>6}  {reason}: {', '.join(names[:NAMED])}{more}")
    if not result["dropped"]:
        say("Dropped    none")


def _price(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _instant(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no ISO 8601 instant such as 2026-11-18T10:30") from None
    return instant(moment if moment.tzinfo is not None else moment.replace(tzinfo=EXCHANGE))


def _symbol(body: bytes) -> str:
    """The symbol most rows name; empty where the answer is not of rows (the decoder then says what it is)."""
    try:
        named = Counter(row.symbol for row in msgspec.json.decode(body, type=_Answer).data if isinstance(row.symbol, str))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return named.most_common(1)[0][0] if named else ""


def _said(at_ns: int) -> str:
    return f"{exchange_datetime(at_ns):%Y-%m-%d %H:%M:%S} New York"


def _misused(text: str) -> int:
    sys.stderr.write(f"alphatrader chain: {text}\n")
    return MISUSED


def _wrong(file: Path, text: str) -> int:
    sys.stderr.write(f"alphatrader chain: {file}: {text}\n")
    return WRONG
