"""A real distributor, beat and delivery worker: the basic post survives the worker's SIGKILL, exactly once and not early."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.runtime.settings import load
from tests.invariants import JUDGES
from tests.invariants.evidence import Evidence
from tests.invariants.people import DELAY
from tests.support.office import Office, running_clock, running_office
from tests.support.people import (
    NS,
    a_signal,
    a_trade,
    closed,
    made,
    until,
    vendor_environment,
    vendor_settings,
    vendors_on,
)
from tests.support.servers import running_servers

TIER = {"-1001": "free", "-1002": "basic", "-1003": "premium"}


@pytest.fixture
def office(tmp_path) -> Iterator[Office]:
    folder = tmp_path / "data" / load({"ALPHATRADER_DATA_DIR": str(tmp_path / "data")}).mode
    folder.mkdir(parents=True)
    with (
        running_clock(folder) as clock,
        vendors_on(clock, tmp_path / "vendors") as vendors,
        running_servers(tmp_path, **vendor_settings(vendors.url)) as servers,
        running_office(servers, clock, tmp_path / "processes.log", vendors) as office,
    ):
        yield office


def test_the_basic_post_survives_a_killed_worker_once_and_not_early(office):
    # given a distributor, a delivery worker and beat
    distributor, worker = office.start(Module.DISTRIBUTION), office.start(Module.DELIVERY)
    office.start(Module.BEAT)
    until(lambda: office.ready(Module.DISTRIBUTION, distributor) and office.ready(Module.DELIVERY, worker), 30)

    # when risk approves a signal, premium is told, and the worker that holds the countdown of basic is killed
    operator = office.servers.store(Module.OPERATOR)
    signal = a_signal(1, ts_ns=office.clock.market_ns())
    office.approve(signal)
    sent = {f"{signal.id}:premium|{recipient}" for recipient in ("discord:premium", "telegram:-1003")}
    until(lambda: sent == {name for name, line in operator.fields(k.LEDGER_DELIVERY.at()).items() if line.state == "sent"}, 10)
    assert office.told("basic") == []
    worker.kill()
    worker.wait()

    # and, while nobody delivers, an older signal comes through and its position is closed with a win
    older = a_signal(2, ts_ns=office.clock.market_ns() - 295 * NS)
    office.approve(older)
    positions = office.servers.store(Module.POSITIONS)
    batch = positions.batch()
    batch.put_field(k.LEDGER_TRADES.at(), older.id, a_trade(older, "187.40", older.ts_ns))
    batch.append(k.EVENTS_POSITIONS.at(), closed(older, "187.40", older.ts_ns))
    positions.commit(batch)
    second = office.start(Module.DELIVERY)
    until(lambda: office.ready(Module.DELIVERY, second), 30)

    # then each tier is told exactly once, none of them before its time by the vendors' own stamps
    until(lambda: office.about(signal, "basic") and office.about(signal, "-1002"), 20)
    until(lambda: office.about(older, "free") and office.about(older, "-1001") and office.vendors.told(vendor="x"), 20)
    for one, channels in ((signal, ("premium", "basic", "-1003", "-1002")), (older, ("free", "-1001"))):
        for channel in channels:
            (post,) = office.about(one, channel)
            assert post["received_market_ns"] >= one.ts_ns + DELAY[TIER.get(channel, channel)], channel
            assert "Not investment advice" in post["text"]
    (tweet,) = office.vendors.told(vendor="x")
    assert tweet["received_market_ns"] >= older.ts_ns + 300 * NS

    # and the ledger says so of each
    records = operator.fields(k.LEDGER_DELIVERY.at())
    assert {record.state for record in records.values()} == {"sent"}, records
    assert operator.get(k.DISTRIBUTION_COUNT.at()).count == 2
    assert operator.field(k.POSTED_SIGNALS.at(), older.id).state == "posted"
    evidence = Evidence(
        wire=[],
        vendors=office.vendors.wire(),
        signals=[made(signal), made(older)],
        deliveries=records,
        settings=office.servers.settings,
    )
    verdicts = {name: JUDGES[name].verdict(evidence) for name in ("I18 never early", "I19 told once", "disclaimer")}
    assert {name: (v.outcome, v.broken) for name, v in verdicts.items()} == dict.fromkeys(verdicts, ("held", []))
    assert "superuser privileges" not in office.log.read_text()
    logs = [office.log, *office.log.parent.glob("logs/*/*.jsonl*")]
    assert len(logs) > 2 and not [
        (log.name, name) for log in logs for name, secret in vendor_environment().items() if secret in log.read_text()
    ]
