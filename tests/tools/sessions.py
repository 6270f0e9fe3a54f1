"""Writes alphatrader/runtime/sessions.csv from pandas_market_calendars; with --check, only compares."""

from __future__ import annotations

import sys

import pandas_market_calendars

from alphatrader.runtime.calendar import TABLE

FIRST, LAST = "2024-01-01", "2030-12-31"


def table() -> str:
    schedule = pandas_market_calendars.get_calendar("NYSE").schedule(FIRST, LAST, tz="America/New_York")
    rows = [f"{day:%Y-%m-%d},{row.market_open:%H:%M},{row.market_close:%H:%M}" for day, row in schedule.iterrows()]
    return "\n".join(["date,open,close", *rows]) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        if TABLE.read_text() != table():
            sys.exit("sessions.csv is not what pandas_market_calendars gives: run `python -m tests.tools.sessions`")
    else:
        TABLE.write_text(table())
