"""Historical bars and head timestamps, with the pacing rules for small bars.

Bars come from the market (regular session only). A duration in days or longer counts session days, as the broker
counts; one in seconds counts trading time back from the end, over the previous session when it must.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from alphatrader.sandbox.gateway import hours, layouts
from alphatrader.sandbox.gateway.contracts import Contracts, Refusal
from alphatrader.sandbox.gateway.limits import HistoryMeter
from alphatrader.sandbox.gateway.session import Session
from alphatrader.sandbox.market.types import Bar, Contract, Market

DAY = 86_400
BAR_SECONDS = {
    **{f"{n} secs": n for n in (1, 5, 10, 15, 30)},
    "1 sec": 1,
    "1 min": 60,
    **{f"{n} mins": 60 * n for n in (2, 3, 5, 10, 15, 20, 30)},
    "1 hour": 3600,
    **{f"{n} hours": 3600 * n for n in (2, 3, 4, 8)},
    "1 day": DAY,
}
SESSION_DAYS = {"D": 1, "W": 5, "M": 21, "Y": 252}
SHOWN = frozenset({"TRADES", "ADJUSTED_LAST", "MIDPOINT", "BID", "ASK"})
SMALL_BAR_SECONDS = 30
MAX_BARS = 20_000
HEAD_YEARS = 2
NO_DATA = "Historical Market Data Service error message:HMDS query returned no data: "

FARM_NOTICES = {
    "there": (2106, "HMDS data farm connection is OK:ushmds"),
    "asleep": (2107, "HMDS data farm connection is inactive but should be available upon demand.ushmds"),
    "broken": (2105, "HMDS data farm connection is broken:ushmds"),
}


class History:
    def __init__(self, market: Market, contracts: Contracts, meter: HistoryMeter, now_ns: Callable[[], int]) -> None:
        self._market = market
        self._contracts = contracts
        self._meter = meter
        self._now_ns = now_ns
        self.farm: Literal["there", "asleep", "broken"] = "there"
        """Of historical data (HMDS): asleep it wakes when it is asked, broken it refuses. Injected."""

    def handlers(self) -> dict[str, Callable[[Session, dict[str, Any]], None]]:
        return {
            "reqHistoricalData": self._bars,
            "cancelHistoricalData": lambda session, values: None,  # every request is answered at once
            "reqHeadTimeStamp": self._head,
            "cancelHeadTimeStamp": lambda session, values: None,
        }

    def _bars(self, session: Session, values: dict[str, Any]) -> None:
        contract = self._contracts.one(values)
        self._need_farm(session)
        bar_seconds = BAR_SECONDS.get(values["barSize"])
        if bar_seconds is None:
            raise _invalid(f"Historical data bar size setting is invalid: {values['barSize']!r}")
        if values["keepUpToDate"]:
            raise _invalid("keepUpToDate is not simulated; use 5-second real-time bars")
        shown = values["whatToShow"]
        if shown not in SHOWN:
            raise Refusal(162, f"{NO_DATA}{contract.symbol}@{contract.exchange} {shown}")
        seconds, sessions = _duration(values["duration"])
        end = self._end(values["endDateTime"])
        if bar_seconds <= SMALL_BAR_SECONDS:
            request = (contract.con_id, values["endDateTime"], values["duration"], values["barSize"], shown)
            if (why := self._meter.violation(contract.con_id, request)) is not None:
                text = "Historical Market Data Service error message:API historical data query pacing violation"
                raise Refusal(162, f"{text}: {why}")
        bars = self._find(contract, end, seconds, sessions, bar_seconds)
        if not bars:
            raise Refusal(162, f"{NO_DATA}{contract.symbol}@{contract.exchange} {shown}")
        if shown not in ("TRADES", "ADJUSTED_LAST"):  # quotes have no volume; the simulation keeps trade bars only
            bars = [replace(bar, volume=-1, wap=-1.0, count=-1) for bar in bars]
        rows = [(_date(bar.ts_ns, bar_seconds, values["formatDate"]), bar) for bar in bars]
        start = bars[0].ts_ns
        session.send(layouts.historical_data(values["reqId"], hours.stamp(start), hours.stamp(end), rows))

    def _need_farm(self, session: Session) -> None:
        if self.farm == "broken":
            raise Refusal(162, "Historical Market Data Service error message:HMDS server disconnect occurred.")
        if self.farm == "asleep":
            self.farm = "there"
            session.error(-1, *FARM_NOTICES["there"])

    def _find(self, contract: Contract, end: int, seconds: int, sessions: int, bar_seconds: int) -> list[Bar]:
        if sessions:
            calendar_days = sessions * 7 // 5 + 5  # weekends and a holiday or two
            bars = self._market.bars(contract.con_id, end, calendar_days * DAY, bar_seconds)
            days = sorted({hours.new_york(bar.ts_ns).date() for bar in bars})[-sessions:]
            bars = [bar for bar in bars if days and hours.new_york(bar.ts_ns).date() >= days[0]]
        else:
            wanted = max(1, seconds // bar_seconds)
            bars = self._market.bars(contract.con_id, end, seconds, bar_seconds)
            if len(bars) < wanted:  # the span began before the open: the rest comes from sessions before
                bars = self._market.bars(contract.con_id, end, seconds + 4 * DAY, bar_seconds)
            bars = bars[-wanted:]
        if len(bars) > MAX_BARS:
            raise _invalid(f"{len(bars)} bars asked for, at most {MAX_BARS} are served")
        return bars

    def _end(self, text: str) -> int:
        now = self._now_ns()
        return min(now, parse_time(text, "endDateTime")) if text else now

    def _head(self, session: Session, values: dict[str, Any]) -> None:
        contract = self._contracts.one(values)
        self._need_farm(session)
        now = hours.new_york(self._now_ns())
        first = hours.session(hours.next_session(now.date().replace(year=now.year - HEAD_YEARS, day=1)))
        if first is None:
            raise Refusal(162, f"{NO_DATA}{contract.symbol}@{contract.exchange} No head time stamp")
        seconds = first[0] // hours.NS
        text = str(seconds) if values["formatDate"] == 2 else f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d-%H:%M:%S}"
        session.send(layouts.head_timestamp(values["reqId"], text))


def _invalid(cause: str) -> Refusal:
    return Refusal(321, f"Error validating request.-'bN' : cause - {cause}")


def _duration(text: str) -> tuple[int, int]:
    """(seconds, session days), one of them 0."""
    count, _, unit = text.partition(" ")
    if not count.isdigit() or not 0 < int(count) <= 100_000 or (unit != "S" and unit not in SESSION_DAYS):
        raise _invalid(f"Historical data duration {text!r} is invalid")
    return (int(count), 0) if unit == "S" else (0, int(count) * SESSION_DAYS[unit])


def parse_time(text: str, field: str) -> int:
    """`yyyymmdd hh:mm:ss [zone]` (New York without a zone) or `yyyymmdd-hh:mm:ss` in UTC, as nanoseconds."""
    try:
        if "-" in text.split(" ")[0]:
            at = datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
        else:
            day, clock, *zone = text.split()
            at = datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S").replace(tzinfo=_zone(zone))
    except (ValueError, ZoneInfoNotFoundError):
        raise _invalid(f"{field} {text!r} is not yyyymmdd hh:mm:ss with an optional zone") from None
    return int(at.timestamp()) * hours.NS


def _zone(names: list[str]) -> ZoneInfo:
    if not names or names[0] in ("EST", "EDT"):
        return hours.NEW_YORK
    return ZoneInfo(names[0])


def _date(ts_ns: int, bar_seconds: int, format_date: int) -> str:
    if bar_seconds >= DAY:
        return f"{hours.new_york(ts_ns):%Y%m%d}"
    return str(ts_ns // hours.NS) if format_date == 2 else hours.stamp(ts_ns)
