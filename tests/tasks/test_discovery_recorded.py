"""The audit log read for discovery: what `ibkr` published while it ran is what is found in its log afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog

from alphatrader.contract.messages.market import BookEvent, Trade
from alphatrader.core.discovery import makers
from alphatrader.core.market.checksum import intact
from alphatrader.core.market.status import Hours
from alphatrader.runtime.calendar import nyse
from alphatrader.tasks.discovery import recorded as module
from alphatrader.tasks.discovery.recorded import log_files, read_recorded
from tests.support.ingestion import ingestion
from tests.support.profiles import profiles_of
from tests.support.servers import Servers

Told = tuple[list[Any], list[Path]]
"""Published events of SPY, and the log files."""


def hours(ts_ns: int) -> Hours | None:
    """As the product asks: before the first record there is no time yet."""
    session = nyse().known(ts_ns)
    return Hours(session.name, session.open_ns, session.close_ns) if session else None


def reread(servers: Servers, files: list[Path], *, since_ns: int = 0, told: Any = lambda share: None) -> Any:
    market = servers.settings.market
    return read_recorded(files, market, since_ns=since_ns, hours=hours, told=told, log=structlog.get_logger())


async def lived(servers: Servers, folder: Path) -> list[Any]:
    """SPY's events of a few seconds, with the link cut and made anew in their midst."""
    async with ingestion(servers, folder, market="ticking") as story:

        async def prints(more_than: int) -> bool:
            return sum(isinstance(event, Trade) for event in await story.events("SPY")) > more_than

        await story.seen(lambda: prints(40))
        story.running.gateway.inject("drop")
        before = sum(isinstance(event, Trade) for event in await story.events("SPY"))
        await story.seen(lambda: prints(before + 40))
        return await story.events("SPY")


@pytest.fixture
def told(servers: Servers, tmp_path: Path) -> Told:
    events = asyncio.run(lived(servers, tmp_path / "ibkr"))
    return events, log_files(tmp_path / "ibkr" / "audit", "ibkr")


def test_prints_and_books_are_those_that_were_published(servers: Servers, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    events, files = told
    shares: list[float] = []
    found = reread(servers, files, told=shares.append)["SPY"]
    # then every print that was published is there, in its order; the log may hold a last few that were not yet published
    published = [event.size for event in events if isinstance(event, Trade) and event.counts_for_vpin]
    assert len(published) > 80 and list(found.sizes)[: len(published)] == published
    assert len(found.sizes) - len(published) < 20
    assert found.from_ns is not None and found.to_ns is not None and found.from_ns < found.to_ns
    # and the same names are seen showing the same interest, for about as long
    monkeypatch.setattr(makers, "MIN_SECONDS", 0.5)
    live = profiles_of(event for event in events if isinstance(event, BookEvent) and intact(event))
    later = found.makers.profiles()
    assert abs(later.detail["seconds"] - live.detail["seconds"]) < 2.0
    assert set(later.detail["profiles"]) == set(live.detail["profiles"]) and later.detail["tick"] == live.detail["tick"] == 0.01
    for name, profile in live.detail["profiles"].items():
        assert later.detail["profiles"][name]["presence"] == pytest.approx(profile["presence"], abs=0.1)
    assert shares[-1] == 1.0
    # what was not fed is not made up
    assert not reread(servers, files)["QQQ"].sizes


def test_a_torn_log_gives_what_is_whole_and_later_events_can_be_left_out(servers: Servers, told: Told) -> None:
    _, files = told
    whole = reread(servers, files)["SPY"]
    middle_ns = (whole.from_ns + whole.to_ns) // 2
    late = reread(servers, files, since_ns=middle_ns)["SPY"]
    assert 0 < len(late.sizes) < len(whole.sizes) and late.from_ns >= middle_ns
    assert list(whole.sizes)[-len(late.sizes) :] == list(late.sizes)
    content = files[0].read_bytes()
    files[0].write_bytes(content[: len(content) * 2 // 3])
    torn = reread(servers, files)["SPY"]
    assert 0 < len(torn.sizes) < len(whole.sizes) and list(whole.sizes)[: len(torn.sizes)] == list(torn.sizes)
    files[0].write_bytes(b"no log at all")
    assert not reread(servers, files)["SPY"].sizes
    files[0].unlink()
    assert not reread(servers, files)["SPY"].sizes


def test_a_part_that_was_copied_is_counted_once(servers: Servers, told: Told) -> None:
    _, files = told
    whole = reread(servers, files)["SPY"].sizes
    copy = files[-1].with_name(f"{files[-1].stem[:-4]}{len(files) + 1:04d}.audit")
    copy.write_bytes(files[0].read_bytes())
    shares: list[float] = []
    assert reread(servers, [*files, copy], told=shares.append)["SPY"].sizes == whole and shares[-1] == 1.0


def test_one_symbols_failure_while_reading_ends_only_that_symbols(
    servers: Servers, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(module.SymbolFeed):
        def trade(self, *args: Any, **named: Any) -> None:
            if self.symbol == "SPY":
                raise ZeroDivisionError("a print nobody foresaw")
            super().trade(*args, **named)

    monkeypatch.setattr(module, "SymbolFeed", Failing)
    _, files = told
    found = reread(servers, files)
    assert "a print nobody foresaw" in found["SPY"].failed
    assert all(one.failed is None for symbol, one in found.items() if symbol != "SPY")
