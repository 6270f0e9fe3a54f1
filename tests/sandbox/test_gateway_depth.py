"""Depth messages fold into the book they came from, in both modes, for any sequence of books."""

import asyncio
import random

import pytest
from ib_insync import Stock

from alphatrader.sandbox.gateway.depth import DELETE, INSERT, restate, shift
from alphatrader.sandbox.market.types import Row
from tests.support.fixed_market import SPY
from tests.support.gateway import MONDAY_TEN, NS, client, running_gateway, until


def fold(rows, changes):
    rows = list(rows)
    for operation, position, row in changes:
        if operation == INSERT:
            assert position <= len(rows)
            rows.insert(position, row)
        elif operation == DELETE:
            rows.pop(position)
        else:
            rows[position] = row
    return rows


def random_side(rng):
    keys = sorted({(rng.randrange(95, 106), rng.choice(("ISLAND", "ARCA", "BATS"))) for _ in range(rng.randrange(0, 10))})
    return [Row(float(price), rng.randrange(1, 4) * 100, venue) for price, venue in keys]


@pytest.mark.parametrize("diff", [shift, restate])
def test_changes_fold_into_the_new_book(diff):
    rng = random.Random(7)
    old = random_side(rng)
    for _ in range(3000):
        new = random_side(rng)
        if rng.random() < 0.2:
            rng.shuffle(new)
        assert fold(old, diff(old, new)) == new
        old = new


def test_shift_mode_is_minimal():
    a, b, c = (Row(price, 100, "ARCA") for price in (100.0, 99.0, 98.0))
    assert list(shift([b, c], [a, b, c])) == [(INSERT, 0, a)]
    assert list(shift([a, b, c], [b, c])) == [(DELETE, 0, a)]
    bigger = Row(99.0, 300, "ARCA")
    assert list(shift([a, b, c], [a, bigger, c])) == [(1, 1, bigger)]


def test_restate_mode_inserts_and_deletes_only_at_the_end():
    a, b, c = (Row(price, 100, "ARCA") for price in (100.0, 99.0, 98.0))
    assert list(restate([b, c], [a, b, c])) == [(1, 0, a), (1, 1, b), (INSERT, 2, c)]
    assert list(restate([a, b, c], [b, c])) == [(1, 0, b), (1, 1, c), (DELETE, 2, c)]


@pytest.mark.parametrize("mode", ["shift", "restate"])
def test_the_wire_log_holds_the_book_that_a_client_must_hold_after_every_message(tmp_path, mode):
    async def story():
        async with running_gateway(tmp_path, depth_mode=mode, log_all_frames=True) as running, client(running) as ib:
            (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
            ticker = ib.reqMktDepth(spy, numRows=5, isSmartDepth=True)
            draw = random.Random(5)
            for _ in range(12):
                prices = sorted(draw.sample(range(100), 8))
                bids = [Row(600 - p / 100, draw.randint(1, 9) * 100, draw.choice(("ARCA", "BATS"))) for p in prices]
                asks = [Row(600.01 + p / 100, draw.randint(1, 9) * 100, draw.choice(("ARCA", "BATS"))) for p in prices]
                running.market.book_set(SPY, bids, asks)
                await until(lambda bids=bids: ticker.domBids and ticker.domBids[0].price == bids[0].price)
            running.gateway.inject("depth_reset")
            await until(lambda: any(line["kind"] == "frame" and line["fields"].get("code") == 317 for line in running.wire()))
            return running.wire()

    lines = asyncio.run(asyncio.wait_for(story(), 60))
    sides: dict[str, list[tuple[float, float, str]]] = {"1": [], "0": []}
    sent = books = 0
    for line in lines:
        if line["kind"] == "raw" and line["dir"] == "out" and line["fields"][0] == "13":
            _, _, _, position, maker, operation, side, price, size, _ = line["fields"]
            sent, rows = sent + 1, sides[side]
            if operation != "0":
                del rows[int(position)]
            if operation != "2":
                rows.insert(int(position), (float(price), float(size), maker))
        elif line["kind"] == "frame" and line["fields"].get("code") == 317:
            sides = {"1": [], "0": []}
        elif line["kind"] == "truth" and line["what"] == "book":
            books += 1
            assert line["sent"] == sent and (line["con_id"], line["client"]) == (SPY, 1)
            for side, told in (("1", line["bids"]), ("0", line["asks"])):
                assert [(price, size, venue) for price, size, venue, _ in told] == sides[side]
    assert books >= 12


def test_without_every_frame_the_book_is_told_every_five_seconds_of_the_market(tmp_path):
    async def story():
        async with running_gateway(tmp_path) as running, client(running) as ib:
            (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
            ticker = ib.reqMktDepth(spy, numRows=5, isSmartDepth=True)
            for second, size in enumerate((500, 600, 700, 800, 900)):
                running.clock.set(MONDAY_TEN + second * 2 * NS)
                running.market.book_set(SPY, [Row(600.0, size, "ARCA")], [Row(600.01, size, "ARCA")])
                await until(lambda size=size: ticker.domAsks and ticker.domAsks[0].size == size)
            told = [line for line in running.wire() if line["kind"] == "truth" and line["what"] == "book"]
            return [round((line["market_ns"] - MONDAY_TEN) / NS) for line in told]

    assert asyncio.run(asyncio.wait_for(story(), 60)) == [0, 6]
