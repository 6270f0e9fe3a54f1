"""`AlphaVantageIngestion`, from the stand-in's HTTP to the keys on real servers."""

from __future__ import annotations

import threading
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
import requests
from structlog import get_logger
from structlog.testing import capture_logs

from alphatrader.clients.alphavantage import LimitedError
from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.positions import PositionsSummary
from alphatrader.contract.messages.signals import Signal, SignalMap
from alphatrader.contract.modules import Module
from alphatrader.runtime.clock import exchange_instant
from tests.support.http import running_answers, send
from tests.support.people import until
from tests.support.pulls import Desk, chain_body, desk_of, vendor_with_every_chain
from tests.support.servers import Servers, free_port, running_servers
from tests.support.vendors import MONDAY_TEN_NS, Running

KEYS = (k.OPTIONS_CHAIN, k.OPTIONS_GREEKS, k.OPTIONS_FLOW, k.OPTIONS_UNUSUAL)
SATURDAY = exchange_instant(date(2026, 11, 28), "12:00")


def a_signal(symbol: str) -> Signal:
    contract = OptionRef(symbol, "20261218", 600.0, "C")
    return Signal(
        id="s1",
        strategy="0DTE",
        symbol=symbol,
        contract=contract,
        direction="long_call",
        confidence=70.0,
        calibrated=False,
        quantity=1,
        entry=2.0,
        stop=1.0,
        targets=(3.0,),
        bid=1.9,
        ask=2.1,
        under_price=600.0,
        reasons=(),
        features={},
        ts_ns=MONDAY_TEN_NS,
        machine_ns=1,
        expires_ns=MONDAY_TEN_NS,
        fence=1,
    )


# -- one chain -----------------------------------------------------------------------------------------------------------


def test_a_chain_becomes_four_keys_with_their_ttl_and_an_event(desk: Desk) -> None:
    # given the underlying's quote
    desk.spot()
    # when its chain is refreshed
    assert desk.ingestion().refresh("SPY")
    # then the four keys live ten seconds, agree, and say that nothing is stale
    chain, greeks, flow, unusual = (desk.seen(key) for key in KEYS)
    assert chain.rows and not chain.stale and 0.0 <= chain.quality <= 1.0
    assert greeks.spot == 600.0 and greeks.greeks
    assert {len(message.symbol) for message in (chain, greeks, flow, unusual)} == {3}
    assert chain.ts_ns == greeks.ts_ns == flow.ts_ns == unusual.ts_ns
    store = desk.servers.store(Module.DASHBOARD)
    assert all(8_000 < (store.ttl_ms(key.at(symbol="SPY")) or 0) <= 10_000 for key in KEYS)
    event = store.latest(k.EVENTS_OPTIONS.at())[0]
    assert (event.symbol, event.stale, event.quality) == ("SPY", False, chain.quality)


def test_without_the_underlyings_quote_the_greeks_are_empty_and_say_so(desk: Desk) -> None:
    desk.ingestion().refresh("SPY")
    assert desk.seen(k.OPTIONS_GREEKS).spot is None
    assert "no spot" in desk.seen(k.OPTIONS_CHAIN).reason


def test_a_refused_answer_leaves_the_last_good_chain_marked_stale_with_its_own_stamps(desk: Desk, vendors: Running) -> None:
    desk.spot()
    ingestion = desk.ingestion()
    ingestion.refresh("SPY")
    good = desk.seen(k.OPTIONS_CHAIN)
    # when the vendor fails
    vendors.fault("alphavantage", "status", status=503, count=2)
    ingestion.refresh("SPY")
    # then the same rows stand there, stale, as old as they are
    stale = desk.seen(k.OPTIONS_CHAIN)
    assert stale.stale and "http_5xx" in stale.reason and "s old" in stale.reason
    assert (stale.rows, stale.ts_ns, stale.machine_ns) == (good.rows, good.ts_ns, good.machine_ns)
    assert desk.seen(k.OPTIONS_GREEKS) is not None
    assert desk.servers.store(Module.DASHBOARD).latest(k.EVENTS_OPTIONS.at())[0].stale
    # and when it is back, the chain is fresh again
    requests.delete(f"{vendors.url}/sandbox/faults", timeout=5)
    until(lambda: ingestion.refresh("SPY") and not desk.seen(k.OPTIONS_CHAIN).stale, 30.0)


def test_a_restarted_worker_knows_the_last_good_chain_from_the_key(desk: Desk, vendors: Running) -> None:
    desk.ingestion().refresh("SPY")
    vendors.fault("alphavantage", "garbage", count=1)
    desk.ingestion().refresh("SPY")
    assert desk.seen(k.OPTIONS_CHAIN).stale


def test_where_nothing_good_is_known_no_key_is_written(desk: Desk, vendors: Running) -> None:
    vendors.fault("alphavantage", "gzip_bomb", count=1)
    desk.ingestion().refresh("SPY")
    assert [desk.seen(key) for key in KEYS] == [None] * 4


def test_yesterdays_chain_in_a_session_is_refused(servers: Servers) -> None:
    with running_answers() as answers:
        answers.answer = lambda handler: send(handler, chain_body("SPY", "2026-11-20"))
        desk = desk_of(servers, answers.url)
        ingestion = desk.ingestion()
        ingestion.refresh("SPY")
        assert desk.seen(k.OPTIONS_CHAIN) is None
        # and an empty answer overwrites no good chain
        answers.answer = lambda handler: send(handler, chain_body("SPY"))
        ingestion.refresh("SPY")
        answers.answer = lambda handler: send(handler, b'{"endpoint": "Realtime Options", "message": "success", "data": []}')
        ingestion.refresh("SPY")
        assert len(desk.seen(k.OPTIONS_CHAIN).rows) == 6 and "empty" in desk.seen(k.OPTIONS_CHAIN).reason


# -- all chains ----------------------------------------------------------------------------------------------------------


def test_a_tick_refreshes_all_twelve_and_a_tick_too_early_does_nothing(servers: Servers) -> None:
    with vendor_with_every_chain() as (answers, _):
        desk = desk_of(servers, answers.url)
        ingestion = desk.ingestion()
        ingestion.pull_all()
        symbols = desk.settings.market.equities
        assert all(desk.seen(k.OPTIONS_CHAIN, symbol) for symbol in symbols)
        assert len(answers.asked) == len(symbols) == 12
        # many ticks that waited in the queue of a worker that was away
        for _ in range(5):
            ingestion.pull_all()
        assert len(answers.asked) == 12
        # another process sees by the keys that they are young
        desk.ingestion().pull_all()
        assert len(answers.asked) == 12
        state = servers.store(Module.DASHBOARD).get(k.AV_STATE.at())
        assert state is not None and state["breaker"] == "closed"


def test_one_slow_symbol_holds_nobody_and_its_keys_do_not_lapse(servers: Servers) -> None:
    with vendor_with_every_chain() as (answers, held):
        # given good chains, and then one symbol that hangs
        desk = desk_of(servers, answers.url, refresh_seconds=0.2, timeout_seconds=20.0)
        ingestion = desk.ingestion()
        ingestion.pull_all()
        first = {symbol: desk.seen(k.OPTIONS_CHAIN, symbol) for symbol in desk.settings.market.equities}
        held["TSLA"] = threading.Event()
        time.sleep(0.15)  # machine time, so that all are due again
        # when the next tick comes
        began = time.monotonic()
        ingestion.pull_all()
        took = time.monotonic() - began
        # then it does not wait for the slow one's time-out, the others are fresh, and the slow one stands there as stale
        assert took < desk.settings.options.timeout_seconds
        for symbol, before in first.items():
            now = desk.seen(k.OPTIONS_CHAIN, symbol)
            if symbol == "TSLA":
                assert now.stale and now.machine_ns == before.machine_ns and "no answer" in now.reason
            else:
                assert not now.stale and now.machine_ns > before.machine_ns
        # and asking for it again does not pile up
        asked = len(answers.asked)
        assert not ingestion.refresh("TSLA")
        assert len(answers.asked) == asked


def test_outside_sessions_chains_are_asked_for_rarely(servers: Servers) -> None:
    with vendor_with_every_chain() as (answers, _):
        desk = desk_of(servers, answers.url, refresh_seconds=0.2)
        ingestion = desk.ingestion(SATURDAY)
        ingestion.pull_all()
        time.sleep(0.15)  # machine time: in a session all would be due again
        ingestion.pull_all()
        assert len(answers.asked) == 12


def test_a_used_up_budget_leaves_the_chains_stale_and_asks_nobody(servers: Servers) -> None:
    with vendor_with_every_chain() as (answers, _):
        desk = desk_of(servers, answers.url, calls_per_minute=2)
        desk.ingestion().refresh("SPY")
        desk.ingestion().refresh("QQQ")
        desk.ingestion().refresh("SPY")  # a process of its own, the same budget
        assert len(answers.asked) == 2
        assert "own_budget" in desk.seen(k.OPTIONS_CHAIN).reason


def test_what_is_held_or_near_a_signal_is_asked_for_first(servers: Servers) -> None:
    # given a position in TSLA, a signal in META, and calls for three symbols only
    positions, signals = servers.store(Module.POSITIONS), servers.store(Module.SIGNALS)
    batch = positions.batch()
    summary = PositionsSummary(MONDAY_TEN_NS, 1, {"TSLA": 1, "SPY": 0}, Decimal(0), None, None, True, ())
    batch.put(k.POSITIONS_SUMMARY.at(), summary)
    positions.commit(batch)
    batch = signals.batch()
    batch.put(k.SIGNALS_PENDING.at(symbol="META"), SignalMap({"0DTE": a_signal("META")}))
    batch.put(k.SIGNALS_PENDING.at(symbol="QQQ"), SignalMap({}))
    signals.commit(batch)
    # when the order is made, then they come first, and the others by age, as they are listed
    with vendor_with_every_chain() as (answers, _):
        desk = desk_of(servers, answers.url)
        ingestion = desk.ingestion()
        ingestion.refresh("SPY")
        first, second, *others = ingestion._by_urgency()
        assert (first, second, others[-1]) == ("TSLA", "META", "SPY")
        assert [symbol for symbol in desk.settings.market.equities if symbol not in ("TSLA", "META", "SPY")] == others[:-1]


def test_without_the_shared_budget_nobody_is_asked_and_the_chain_stays_as_stale(tmp_path: Path) -> None:
    with running_servers(tmp_path) as servers, vendor_with_every_chain() as (answers, _):
        desk = desk_of(servers, answers.url)
        ingestion = desk.ingestion()
        ingestion.refresh("SPY")
        # when the state server is gone
        servers.processes[Module.STATE].kill()
        servers.processes[Module.STATE].wait()
        ingestion.refresh("SPY")
        # then no call is made, and the last good chain says why it is stale
        assert len(answers.asked) == 1
        chain = desk.seen(k.OPTIONS_CHAIN)
        assert chain.stale and "shared budget" in chain.reason


def test_a_refusal_of_the_vendor_makes_every_process_pause_until_one_call_is_answered(desk: Desk, vendors: Running) -> None:
    vendors.fault("alphavantage", "status", status=429, count=1)
    with pytest.raises(LimitedError, match="vendor_limit"):
        desk.client().chain("SPY")
    asked = len(vendors.wire(vendor="alphavantage"))
    with pytest.raises(LimitedError, match="own_pause"):
        desk.client().chain("QQQ")
    assert len(vendors.wire(vendor="alphavantage")) == asked
    # and the tick's own call waits for the end of the pause and ends it for all
    desk.ingestion().refresh("SPY")
    assert not desk.seen(k.OPTIONS_CHAIN).stale
    assert desk.client().chain("SPY").rows


def test_an_open_breaker_is_told_where_the_operator_looks(servers: Servers) -> None:
    """`vendor` is a fact of the worker's heartbeat, which the dashboard and `status` show; the state is what `doctor` judges."""
    with running_answers() as answers:
        desk = desk_of(servers, answers.url)
        vendors = msgspec.structs.replace(desk.settings.vendors, breaker_failures=1)
        desk.settings = msgspec.structs.replace(desk.settings, vendors=vendors)
        ingestion = desk.ingestion()
        assert ingestion.vendor() == "breaker closed"
        answers.answer = lambda handler: send(handler, b"", 503)
        ingestion.refresh("SPY")
        assert ingestion.vendor() == "breaker open, backing off after 1 failures"
        assert ingestion.refusing() == {"SPY": "http_5xx"}
        ingestion.pull_all()
        state = desk.servers.store(Module.DASHBOARD).get(k.AV_STATE.at())
        assert (state["breaker"], state["refused"]["http_5xx"]) == ("open", 1)


def test_a_vendor_that_is_away_is_told_once_and_so_is_its_return(servers: Servers) -> None:
    port, symbols = free_port(), ("SPY", "QQQ", "IWM")
    desk = desk_of(servers, f"http://127.0.0.1:{port}")
    broken = {"QQQ"}

    def answer(handler: Any) -> None:
        symbol = parse_qs(urlsplit(handler.path).query)["symbol"][0]
        send(handler, b"[]" if symbol in broken else chain_body(symbol))

    with capture_logs() as said:
        desk.log = get_logger()
        chains = desk.ingestion()

        def refused_are(wanted: set[str]) -> bool:
            for symbol in symbols:
                chains.refresh(symbol)
            return chains.refusing().keys() == wanted

        # given nobody who listens, for all symbols and more than once
        assert refused_are(set(symbols)) and refused_are(set(symbols))
        # when the vendor is there, but has no chain of one of them, and then of all
        with running_answers(port) as answers:
            answers.answer = answer
            until(lambda: refused_are(broken))
            broken.clear()
            until(lambda: refused_are(set()))
    told = [(line["event"], line.get("reason") or line["after"]) for line in said]
    assert [event for event, _ in told] == ["chain_refused", "chain_refused", "chain_back", "chain_back"]
    assert told[0][1] == "connection" and told[1][1] == told[3][1] and said[1]["symbol"] == said[3]["symbol"] == "QQQ"
