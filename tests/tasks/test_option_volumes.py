"""A contract's volume against its own earlier days, from the vendor's HTTP to `options:{symbol}:unusual` on a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec
import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import SECOND, exchange_instant
from alphatrader.tasks.alphavantage.chains import AlphaVantageIngestion
from alphatrader.tasks.alphavantage.volumes import VolumeHistory
from tests.support.http import Answers, running_answers, send
from tests.support.pulls import Desk, desk_of, row
from tests.support.servers import Servers

CALL, QUIET = "SPY261218C00600000", "SPY261218C00610000"
MONDAY = date(2026, 11, 23)


@dataclass
class Vendor:
    """Answers SPY's chain: the volume of one contract, which is bought, and 10 of each other."""

    answers: Answers
    desk: Desk

    def refreshed(self, day: date, at: str, volume: int, ingestion: AlphaVantageIngestion | None = None) -> Any:
        """What `:unusual` says of the contract after a refresh at that New York time; by a worker of its own unless given."""
        rows = [row("SPY", strike, right, day.isoformat()) for strike in (590, 600, 610) for right in "CP"]
        bought = next(one for one in rows if one["contractID"] == CALL)
        bought |= {"bid": "19.90", "ask": "20.10", "last": "20.10", "volume": str(volume)}
        body = json.dumps({"endpoint": "Realtime Options", "message": "success", "data": rows}).encode()
        self.answers.answer = lambda handler: send(handler, body)
        ingestion = ingestion or self.desk.ingestion(exchange_instant(day, at))
        assert ingestion.refresh("SPY")
        assert not self.desk.seen(k.OPTIONS_CHAIN).stale, self.desk.seen(k.OPTIONS_CHAIN).reason
        (item,) = self.desk.seen(k.OPTIONS_UNUSUAL).items
        assert item.occ == CALL
        return item

    def kept(self, day: date) -> dict[str, int]:
        key = k.OPTIONS_VOLUMES.at(symbol="SPY", day=day.isoformat())
        return self.desk.servers.store(Module.DASHBOARD).fields(key)


@pytest.fixture
def vendor(servers: Servers) -> Iterator[Vendor]:
    with running_answers() as answers:
        yield Vendor(answers, desk_of(servers, answers.url))


def test_two_days_apart_fill_the_history_and_a_day_is_never_compared_with_itself(vendor: Vendor) -> None:
    friday = date(2026, 11, 20)
    # given Friday: before the close, and by another worker after it
    first = vendor.refreshed(friday, "15:59", 900)
    assert (first.volume_z, first.volume_days) == (None, 0)
    again = vendor.refreshed(friday, "16:05", 1000)
    assert (again.volume_z, again.volume_days) == (None, 0)
    assert (vendor.kept(friday)[CALL], vendor.kept(friday)[QUIET], len(vendor.kept(friday))) == (1000, 10, 6)
    # when Monday trades
    monday = vendor.refreshed(MONDAY, "10:00", 3200)
    # then Friday's close is its history of one day, which is too little, and says so beside why it is listed
    assert (monday.volume_z, monday.volume_days) == (None, 1)
    assert monday.volume_z_missing == "1 of the 5 days of its own history that it needs"
    assert "x its open interest 100" in monday.why and monday.why.endswith(f"no z-score: {monday.volume_z_missing}")
    assert (vendor.kept(friday)[CALL], vendor.kept(MONDAY)[CALL]) == (1000, 3200)
    # and the days outlive weekends
    key = k.OPTIONS_VOLUMES.at(symbol="SPY", day=friday.isoformat())
    assert (vendor.desk.servers.store(Module.DASHBOARD).ttl_ms(key) or 0) > 31 * 86_400_000


def test_with_five_days_there_is_a_z_score_at_their_closes(vendor: Vendor) -> None:
    # given five sessions, each seen in its morning and at its close, and one before all that are looked at
    vendor.refreshed(date(2026, 10, 23), "16:01", 500_000)
    for day, close in zip(range(16, 21), (1000, 1200, 800, 1100, 900), strict=True):
        vendor.refreshed(date(2026, 11, day), "10:00", 700)
        vendor.refreshed(date(2026, 11, day), "16:01", close)
    # when the sixth trades, then 3,200 is (3200 - 1000) / sqrt(100000 / 4) deviations over
    found = vendor.refreshed(MONDAY, "10:00", 3200)
    assert (found.volume_z, found.volume_days, found.volume_z_missing) == (13.91, 5, None)
    assert found.why.endswith("13.9 standard deviations over its mean 1,000 of 5 days")
    # and the stale chain that follows a refusal still carries it
    vendor.answers.answer = lambda handler: send(handler, b"no json")
    vendor.desk.ingestion(exchange_instant(MONDAY, "10:01")).refresh("SPY")
    assert vendor.desk.seen(k.OPTIONS_CHAIN).stale
    assert vendor.desk.seen(k.OPTIONS_UNUSUAL).items == (found,)


def test_what_comes_outside_the_sessions_date_is_of_no_day(vendor: Vendor) -> None:
    """Before the open and on a day without session the vendor may show anything under its date."""
    vendor.refreshed(date(2026, 11, 20), "15:59", 1000)
    vendor.refreshed(date(2026, 11, 21), "12:00", 9000)
    vendor.refreshed(MONDAY, "08:00", 7000)
    assert vendor.kept(MONDAY) == vendor.kept(date(2026, 11, 21)) == {}
    assert vendor.kept(date(2026, 11, 20))[CALL] == 1000
    # and what is shown then is Friday's: Friday is not its history
    assert vendor.refreshed(MONDAY, "08:30", 7000).volume_days == 0


def test_a_smaller_volume_of_the_same_day_is_not_taken(vendor: Vendor) -> None:
    """After the close a vendor that clears its figures early does not clear the day."""
    vendor.refreshed(MONDAY, "15:59", 3200)
    vendor.refreshed(MONDAY, "20:00", 400)
    assert vendor.kept(MONDAY)[CALL] == 3200


def test_a_day_is_written_about_once_a_minute_not_with_every_refresh(vendor: Vendor) -> None:
    ingestion = vendor.desk.ingestion(exchange_instant(MONDAY, "10:00"))
    vendor.refreshed(MONDAY, "10:00", 3200, ingestion)
    vendor.refreshed(MONDAY, "10:00", 3300, ingestion)
    assert vendor.kept(MONDAY)[CALL] == 3200
    assert vendor.refreshed(MONDAY, "10:00", 3400).volume_days == 0  # a worker that starts writes at once
    assert vendor.kept(MONDAY)[CALL] == 3400


def test_an_evicted_day_comes_back_by_itself(vendor: Vendor) -> None:
    """Under `volatile-lru` a full data server drops what has a TTL, this hash whole among it."""
    vendor.refreshed(MONDAY, "10:00", 3200)
    chain = vendor.desk.seen(k.OPTIONS_CHAIN)
    pulls = vendor.desk.servers.store(Module.PULLS)
    history, key = VolumeHistory(pulls, nyse()), k.OPTIONS_VOLUMES.at(symbol="SPY", day=MONDAY.isoformat())
    history.keep(chain)
    # given the server dropped it
    pulls.raw(key.key.server, "DEL", key.name)
    # when the same process sees the day within the minute, then nothing is asked of the server
    history.keep(msgspec.structs.replace(chain, machine_ns=chain.machine_ns + 59 * SECOND))
    assert vendor.kept(MONDAY) == {}
    # when it does a minute later, and one contract alone has traded since
    rows = tuple(msgspec.structs.replace(row, volume=3300) if row.volume == 3200 else row for row in chain.rows)
    history.keep(msgspec.structs.replace(chain, machine_ns=chain.machine_ns + 61 * SECOND, rows=rows))
    # then every contract is there again, the quiet ones too, for as long as before
    assert (vendor.kept(MONDAY)[CALL], vendor.kept(MONDAY)[QUIET], len(vendor.kept(MONDAY))) == (3300, 10, 6)
    assert (pulls.ttl_ms(key) or 0) > 31 * 86_400_000
