"""`ParameterDiscovery` on real servers: seed at once, values as soon as there are data, one failure loses no other."""

from __future__ import annotations

import runpy
import stat
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import structlog

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.messages.market import Bar, Bars, BookEvent, Level, Trade
from alphatrader.contract.modules import Module
from alphatrader.core.discovery import found as files
from alphatrader.core.market.checksum import checksum
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.settings import ROOT
from alphatrader.tasks.discovery import ParameterDiscovery, schedule
from alphatrader.tasks.discovery.report import TITLES
from alphatrader.tasks.discovery.runner import SEED, read, write
from tests.support.servers import Servers
from tests.support.vendors import MONDAY_TEN_NS

MINUTE = 60 * 10**9
MAPS = (k.DISCOVERED_VPIN_BUCKET_SIZE, k.DISCOVERED_LOOKBACK_BARS, k.DISCOVERED_MM_PROFILES, k.DISCOVERED_VOL_REGIMES)


def discovery(servers: Servers, folder: Path, minutes_later: int = 0, **more: Any) -> ParameterDiscovery:
    clock = Clock(MONDAY_TEN_NS + minutes_later * MINUTE, time.time_ns(), 1.0)
    store = servers.store(Module.DISCOVERY)
    return ParameterDiscovery(store, servers.settings, clock, nyse(), structlog.get_logger(), folder, **more)


def record(servers: Servers, symbol: str, seed: int, trades: int = 1200, larger: float = 1.0) -> None:
    """What ibkr keeps of a symbol: two sessions of minutes, the days before, and prints."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(0).normal(size=780)
    prices = 100 * np.exp(np.cumsum((common + rng.normal(size=780)) * 3e-4))
    store = servers.store(Module.IBKR)
    batch = store.batch()
    minutes = tuple(Bar(MONDAY_TEN_NS - (780 - i) * MINUTE, p, p, p, p, 900.0, p, 9) for i, p in enumerate(prices.tolist()))
    batch.put(k.MARKET_HISTORY.at(symbol=symbol), Bars(symbol, MONDAY_TEN_NS, 60, minutes))
    days = tuple(Bar(i, 1.0, 1.0, 1.0, 1.0, 1e6, 1.0, 1) for i in range(30))
    batch.put(k.MARKET_DAILY.at(symbol=symbol), Bars(symbol, MONDAY_TEN_NS, 86_400, days))
    sizes = np.concatenate([rng.lognormal(2, 0.2, trades // 2), rng.lognormal(5, 0.2, trades - trades // 2)])
    sizes = (sizes * larger).round()
    for i, size in enumerate(sizes.tolist()):
        trade = Trade(i, MONDAY_TEN_NS + i, MONDAY_TEN_NS + i, 100.0, size, "ARCA", "@", "buy", True, True, True)
        batch.append(k.EVENTS_MARKET.at(symbol=symbol), trade)
    store.commit(batch)


def seen(servers: Servers, key: Any) -> Any:
    return servers.store(Module.DASHBOARD).get(key.at())


def test_on_a_first_start_the_five_keys_exist_at_once_from_the_seed(servers: Servers, tmp_path: Path) -> None:
    discovery(servers, tmp_path).ensure()
    maps = [seen(servers, key) for key in MAPS]
    assert all(len(message.by_symbol) == 20 for message in maps)
    assert all(one.fallback.startswith("seed") for message in maps for one in message.by_symbol.values())
    matrix = seen(servers, k.DISCOVERED_CORRELATION_MATRIX)
    assert (len(matrix.symbols), matrix.fallback) == (20, "seed")
    assert np.linalg.eigvalsh(np.array(matrix.matrix)).min() >= 0.0
    store = servers.store(Module.DASHBOARD)
    assert all(86_300_000 < (store.ttl_ms(key.at()) or 0) <= 86_400_000 for key in (*MAPS, k.DISCOVERED_CORRELATION_MATRIX))
    # nothing was computed, so nothing is said to have been
    assert not (tmp_path / "discovered.yaml").exists()


def test_as_soon_as_bars_are_there_values_are_computed_and_kept_in_the_modes_own_file(servers: Servers, tmp_path: Path) -> None:
    for i, symbol in enumerate(("SPY", "QQQ", "ES")):
        record(servers, symbol, i + 1)
    discovery(servers, tmp_path).ensure()
    # then these three are computed, and the others are the seed's and say so
    bucket, lookback, makers, regimes = (seen(servers, key).by_symbol for key in MAPS)
    assert bucket["SPY"].fallback is None and bucket["SPY"].n == 1200 and 5_000 <= bucket["SPY"].value <= 50_000
    assert lookback["ES"].n == 779 and 5 <= lookback["ES"].value <= 120
    assert regimes["QQQ"].value in (1, 2, 3) and regimes["QQQ"].n == 155
    assert makers["SPY"].value is None and "min of recorded depth" in makers["SPY"].fallback
    assert bucket["TSLA"].value == 1_800_000 and bucket["TSLA"].fallback.startswith("seed;")
    matrix = seen(servers, k.DISCOVERED_CORRELATION_MATRIX)
    assert matrix.symbols == ("SPY", "QQQ", "ES") and "TSLA (0 returns)" in matrix.fallback
    assert all(abs(matrix.matrix[i][j] - 0.5) < 0.25 for i in range(3) for j in range(3) if i != j)
    # and the file holds the same
    found = read(tmp_path / "discovered.yaml")
    assert found.vpin_bucket_size == bucket and found.with_history == ("SPY", "QQQ", "ES")
    assert seen(servers, k.DISCOVERED_PROGRESS).state == "done"
    # when nothing new is there, nothing is computed again; with another symbol it is
    before = (tmp_path / "discovered.yaml").stat().st_mtime_ns
    discovery(servers, tmp_path).ensure()
    assert (tmp_path / "discovered.yaml").stat().st_mtime_ns == before
    record(servers, "TSLA", 9)
    discovery(servers, tmp_path).ensure()
    assert seen(servers, MAPS[0]).by_symbol["TSLA"].fallback is None


def test_the_report_says_how_to_read_each_table_and_why_a_value_is_not_what_was_found(servers: Servers, tmp_path: Path) -> None:
    # given an average day of 1,000,000, and trades whose fifty are a bucket as found, too small and too large for such a day
    for seed, (symbol, larger) in enumerate({"SPY": 1.0, "QQQ": 0.5, "IWM": 40.0}.items()):
        record(servers, symbol, seed + 1, larger=larger)
    discovery(servers, tmp_path).run()
    lines = (tmp_path / "reports" / "discovery-2026-11-23.md").read_text().splitlines()
    table = {line.split()[1]: line for line in lines if " a bucket | " in line and line.startswith("| ")}
    assert "of the heaviest: 7," in table["SPY"] and table["SPY"].split("heaviest: ")[1].count(",") == 1
    assert table["QQQ"].startswith("| QQQ | 5,000 a bucket |") and table["QQQ"].endswith(
        ", raised to a 200th of the average day |"
    )
    assert table["IWM"].startswith("| IWM | 50,000 a bucket |") and table["IWM"].endswith(
        ", lowered to a 20th of the average day |"
    )
    assert any(line.startswith("| SPY |") and " BIC of 1, 2, 3 states: " in line for line in lines)
    # and every table is preceded by what it means, as in the example that the docs show
    example = (ROOT / "docs" / "discovery-report.md").read_text().splitlines()
    for heading in (*TITLES.values(), "Correlation of five-minute returns"):
        explained = lines[lines.index(f"## {heading}") + 2]
        assert len(explained) > 100 and explained == example[example.index(f"## {heading}") + 2]


def test_on_a_first_day_it_runs_again_until_there_are_prints_enough(servers: Servers, tmp_path: Path) -> None:
    # given bars of all symbols and few prints
    symbols = discovery(servers, tmp_path).symbols
    for i, symbol in enumerate(symbols):
        record(servers, symbol, i, trades=10)
    discovery(servers, tmp_path).ensure()
    assert "10 trades, 1000 are needed" in seen(servers, MAPS[0]).by_symbol["SPY"].fallback
    # when prints have come, then they are measured a while later, and not at every look
    for i, symbol in enumerate(symbols[:11]):
        record(servers, symbol, i)
    discovery(servers, tmp_path, minutes_later=5).ensure()
    assert seen(servers, MAPS[0]).by_symbol["SPY"].n == 10
    discovery(servers, tmp_path, minutes_later=21).ensure()
    assert seen(servers, MAPS[0]).by_symbol["SPY"].fallback is None
    # and most being measured, it is left to the nightly run
    as_of = seen(servers, MAPS[0]).as_of_ns
    discovery(servers, tmp_path, minutes_later=60).ensure()
    assert seen(servers, MAPS[0]).as_of_ns == as_of


def test_republishing_keeps_the_values_and_their_date(servers: Servers, tmp_path: Path) -> None:
    record(servers, "SPY", 1)
    discovery(servers, tmp_path).run()
    computed = seen(servers, MAPS[0])
    servers.flush()
    discovery(servers, tmp_path).republish()
    again = seen(servers, MAPS[0])
    assert again.by_symbol == computed.by_symbol
    assert again.as_of_ns == computed.as_of_ns
    # a run without data after that keeps what was measured
    discovery(servers, tmp_path).run()
    kept = seen(servers, MAPS[0]).by_symbol["SPY"]
    assert kept.value == computed.by_symbol["SPY"].value and kept.fallback.startswith("kept from an earlier run")


def test_beat_runs_it_each_night_and_publishes_again_long_before_a_key_lapses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHATRADER_DISCOVERY__HOUR", "3")
    configured = runpy.run_path(str(ROOT / "celeryconfig.py"))
    nightly, again = (configured["beat_schedule"][f"discovery-{name}"] for name in ("nightly", "republish"))
    assert (nightly["task"], again["task"]) == (schedule.run.name, schedule.republish.name)
    every_day = {"day_of_week": set(range(7)), "day_of_month": set(range(1, 32)), "month_of_year": set(range(1, 13))}
    for entry, hours, minutes in ((nightly, {3}, {0}), (again, set(range(24)), {30})):
        assert {name: getattr(entry["schedule"], name) for name in every_day} == every_day
        assert (entry["schedule"].hour, entry["schedule"].minute) == (hours, minutes)
    assert configured["timezone"] == "America/New_York"
    assert all(key.ttl_seconds == 24 * 3600 for key in (*MAPS, k.DISCOVERED_CORRELATION_MATRIX))


def test_one_symbols_failure_loses_no_other(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(servers, "SPY", 1)
    record(servers, "QQQ", 2)
    # given bars that break a computation, and content that is no message at all
    from alphatrader.core.discovery import lookback as module

    real, first = module.lookback, first_return(servers, "SPY")
    monkeypatch.setattr(
        module, "lookback", lambda sessions: 1 / 0 if sessions and sessions[0].returns[0] == first else real(sessions)
    )
    servers.store(Module.REDIS).raw(Server.DATA, "SET", k.MARKET_HISTORY.at(symbol="IWM").name, b"{broken")
    discovery(servers, tmp_path).run()
    lookback = seen(servers, k.DISCOVERED_LOOKBACK_BARS).by_symbol
    assert "failed: ZeroDivisionError" in lookback["SPY"].fallback and lookback["SPY"].value == 20
    assert lookback["QQQ"].n == 779
    assert lookback["IWM"].n == 0


def test_books_with_a_wrong_checksum_are_told_and_left_out(servers: Servers, tmp_path: Path) -> None:
    store = servers.store(Module.IBKR)
    batch = store.batch()
    rows = (Level(100.0, 300.0, "ARCA"),)
    for seq, crc in ((1, checksum(rows, ())), (2, 7), (3, 8)):
        batch.append(k.EVENTS_MARKET.at(symbol="SPY"), BookEvent(seq, MONDAY_TEN_NS, MONDAY_TEN_NS, True, rows, (), crc, 0))
    store.commit(batch)
    with structlog.testing.capture_logs() as said:
        discovery(servers, tmp_path).run(symbol="SPY")
    (refused,) = (line for line in said if line["event"] == "books_refused")
    assert (refused["symbol"], refused["count"], refused["reason"]) == ("SPY", 2, "wrong checksum or order")


def first_return(servers: Servers, symbol: str) -> float:
    from alphatrader.core.discovery.bars import returns_by_session

    bars = servers.store(Module.DISCOVERY).get(k.MARKET_HISTORY.at(symbol=symbol))
    assert bars is not None
    return float(returns_by_session(bars.bars)[0].returns[0])


@pytest.mark.parametrize(
    "content",
    ["", "as_of_ns: soon\n", "][", "as_of_ns: 1\nwith_history: []\n", "\x00\x01"],
)
def test_a_broken_file_is_refused_and_the_seed_serves(servers: Servers, tmp_path: Path, content: str) -> None:
    path = tmp_path / "discovered.yaml"
    path.write_text(content)
    with pytest.raises(files.FoundError, match=r"discovered\.yaml"):
        read(path)
    discovery(servers, tmp_path).republish()
    assert seen(servers, MAPS[0]).by_symbol["SPY"].fallback == "seed"


def test_a_matrix_of_the_wrong_shape_is_refused(tmp_path: Path) -> None:
    seed = read(SEED)
    matrix = msgspec.structs.replace(seed.correlation_matrix, matrix=seed.correlation_matrix.matrix[:-1])
    write(tmp_path / "found.yaml", files.render(msgspec.structs.replace(seed, correlation_matrix=matrix)))
    with pytest.raises(files.FoundError, match="20 by 20"):
        read(tmp_path / "found.yaml")


def test_the_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    seed = read(SEED)
    write(tmp_path / "found.yaml", files.render(seed))
    assert read(tmp_path / "found.yaml") == seed
    assert [path.name for path in tmp_path.iterdir()] == ["found.yaml"]
    assert stat.S_ISREG((tmp_path / "found.yaml").stat().st_mode)


def test_every_symbol_of_the_settings_has_a_seed(servers: Servers, tmp_path: Path) -> None:
    seed = read(SEED)
    symbols = set(discovery(servers, tmp_path).symbols)
    assert all(set(getattr(seed, name)) == symbols for name in files.PARAMETERS)
    assert set(seed.correlation_matrix.symbols) == symbols
    assert len(symbols) == 20


def test_a_jump_waits_in_a_key_and_in_the_file_until_a_second_night(servers: Servers, tmp_path: Path) -> None:
    # given a size measured, and the next night prints ten times as large
    record(servers, "SPY", 1)
    discovery(servers, tmp_path).run()
    before = seen(servers, MAPS[0]).by_symbol["SPY"]
    servers.flush()
    record(servers, "SPY", 1, larger=10.0)
    day = 1440
    found = discovery(servers, tmp_path, minutes_later=day).run()
    # then the old one stays in effect, and what was found waits where people and the next run see it
    assert seen(servers, MAPS[0]).by_symbol["SPY"].value == before.value
    (waits,) = seen(servers, k.DISCOVERED_CANDIDATES).waiting
    assert (waits.parameter, waits.symbol, waits.night) == ("vpin_bucket_size", "SPY", "2026-11-24")
    assert read(tmp_path / "discovered.yaml").waiting == found.waiting
    text = (tmp_path / "reports" / "discovery-2026-11-24.md").read_text()
    assert "1 jump waits" in text and "waits for a second night or a yes" in text
    # and the night after, finding the same, lets it through
    discovery(servers, tmp_path, minutes_later=2 * day).run()
    after = seen(servers, MAPS[0]).by_symbol["SPY"].value
    assert after > 4 * before.value and not seen(servers, k.DISCOVERED_CANDIDATES).waiting
    assert "found on 2026-11-24, too" in (tmp_path / "reports" / "discovery-2026-11-25.md").read_text()


def test_a_second_run_beside_one_that_runs_is_none(servers: Servers, tmp_path: Path) -> None:
    record(servers, "SPY", 1)
    first, second = discovery(servers, tmp_path), discovery(servers, tmp_path)
    inside: list[Any] = []
    done = first.run(tell=lambda progress: inside.append(second.run()) if progress.step == "SPY" else None)
    assert done is not None and inside == [None]
    # one that was asked for before a run began is answered by it; one asked for later is not
    began = seen(servers, k.DISCOVERED_PROGRESS).started_machine_ns
    assert second.run(asked_machine_ns=began - 1) is None
    assert second.run(asked_machine_ns=began + 1) is not None
    # a run of all answers who asked for one; a run of one answers only who asked for that one
    assert second.run(symbol="SPY", asked_machine_ns=1) is None
    assert second.run(symbol="SPY") is not None and second.run(symbol="SPY", asked_machine_ns=1) is None
    assert second.run(symbol="QQQ", asked_machine_ns=1) is not None and second.run(asked_machine_ns=1) is not None


class Killed(BaseException):
    """As SIGKILL: nothing is caught, nothing is said."""


def kill_at(step: str) -> Any:
    def die(progress: Any) -> None:
        if progress.step == step:
            raise Killed

    return die


def killed(servers: Servers, folder: Path, step: str) -> None:
    with pytest.raises(Killed):
        discovery(servers, folder).run(tell=kill_at(step))
    assert seen(servers, k.DISCOVERED_PROGRESS).state == "running" and (folder / "discovered.part").exists()


def test_a_run_that_was_killed_is_made_up_for_and_no_symbol_is_computed_twice(servers: Servers, tmp_path: Path) -> None:
    record(servers, "SPY", 1)
    killed(servers, tmp_path, "AAPL")
    killed(servers, tmp_path, "correlation")
    assert not (tmp_path / "discovered.yaml").exists()
    # when it is looked for the next time, then it goes on where it stood, as the run it was
    began = seen(servers, k.DISCOVERED_PROGRESS).started_machine_ns
    steps: list[str] = []
    discovery(servers, tmp_path).ensure(tell=lambda progress: steps.append(progress.step))
    assert steps == ["reading what was recorded", "correlation", "report", "done"]
    progress = seen(servers, k.DISCOVERED_PROGRESS)
    assert (progress.state, progress.done, progress.of, progress.started_machine_ns) == ("done", 23, 23, began)
    assert read(tmp_path / "discovered.yaml").vpin_bucket_size["SPY"].n == 1200
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"discovered.yaml", "discovered.lock"}


def test_a_run_killed_before_its_report_tells_the_same_changes(servers: Servers, tmp_path: Path) -> None:
    record(servers, "SPY", 1)
    killed(servers, tmp_path, "report")
    # given that file and keys hold the new values already
    assert read(tmp_path / "discovered.yaml") and seen(servers, MAPS[0]).by_symbol["SPY"].n == 1200
    discovery(servers, tmp_path).ensure()
    assert any("SPY" in line and "measured for the first time" in line for line in seen(servers, k.DISCOVERED_PROGRESS).changed)
    assert "measured for the first time" in (tmp_path / "reports" / "discovery-2026-11-23.md").read_text()


def test_what_a_killed_run_computed_is_used_only_where_it_is_the_same_question(servers: Servers, tmp_path: Path) -> None:
    record(servers, "SPY", 1)

    def computed(**how: Any) -> bool:
        """Whether SPY is computed by a run after one that was killed behind it."""
        killed(servers, tmp_path, "QQQ")
        steps: list[str] = []
        later, settings, asked = how.get("later", 0), how.get("settings", servers.settings), how.get("asked")
        clock = Clock(MONDAY_TEN_NS + later * MINUTE, time.time_ns(), 1.0)
        runner = ParameterDiscovery(servers.store(Module.DISCOVERY), settings, clock, nyse(), structlog.get_logger(), tmp_path)
        runner.run(asked_machine_ns=asked, tell=lambda progress: steps.append(progress.step))
        assert seen(servers, k.DISCOVERED_PROGRESS).state == "done" and not (tmp_path / "discovered.part").exists()
        return "SPY" in steps

    other = msgspec.structs.replace(servers.settings, discovery=msgspec.structs.replace(servers.settings.discovery, seed=8))
    assert not computed()
    assert computed(later=24 * 60)  # of another night
    assert computed(settings=other)
    assert not computed(asked=1)  # who asked before it began
    assert computed(asked=time.time_ns() + 10**12)  # who asked after
    # and a damaged file costs only the time
    killed(servers, tmp_path, "QQQ")
    (tmp_path / "discovered.part").write_text('{"night": ')
    discovery(servers, tmp_path).ensure()
    assert seen(servers, k.DISCOVERED_PROGRESS).state == "done"


def test_the_nightly_run_that_comes_again_after_it_was_made_up_for_does_nothing(servers: Servers, tmp_path: Path) -> None:
    def nightly(hours_later: float) -> bool:
        """Whether it computes."""
        began: list[str] = []
        runner = discovery(servers, tmp_path, minutes_later=round(hours_later * 60))
        runner.nightly(tell=lambda progress: began.append(progress.step))
        return bool(began)

    # given a run in the morning, at ten: it is not the one of 20:00, but that of the evening before
    record(servers, "SPY", 1)
    assert nightly(0)
    assert not nightly(1)
    assert nightly(10.0)
    assert not nightly(10.25) and not nightly(33.5)
    assert nightly(34.0)
    # and one symbol's run is not the night's
    discovery(servers, tmp_path, minutes_later=35 * 60).run(symbol="SPY")
    assert nightly(35.5)
