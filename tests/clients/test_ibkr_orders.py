"""What is read of the orders' frames: ours whole or not at all, and what can be nobody's but a trader's by hand passed over."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from ib_insync import IB

from alphatrader.clients.ibkr.orders import EXECUTION, BrokerOrders
from alphatrader.contract.messages.broker import ExecutionNews, GarbledNews

LAYOUT = (
    "id",
    "request",
    "order",
    "con_id",
    "symbol",
    "sec_type",
    "expiry",
    "strike",
    "right",
    "multiplier",
    "exchange",
    "currency",
    "local",
    "class",
    "exec_id",
    "time",
    "account",
    "at",
    "side",
    "shares",
    "price",
    "perm_id",
    "client",
    "liquidation",
    "cumulative",
    "average",
    "ref",
    "rule",
    "multiplied",
    "model",
    "liquidity",
)
WHOLE = {
    "id": str(EXECUTION),
    "request": "-1",
    "order": "5",
    "con_id": "7",
    "symbol": "SPY",
    "sec_type": "OPT",
    "expiry": "20261218",
    "strike": "600",
    "right": "C",
    "multiplier": "100",
    "exec_id": "0001.01.01",
    "time": "20261123 10:00:00 US/Eastern",
    "account": "DUSIM1",
    "side": "BOT",
    "shares": "2",
    "price": "4.05",
    "perm_id": "9",
    "client": "12",
    "cumulative": "2",
    "average": "4.05",
    "ref": "i-1",
}


@pytest.mark.parametrize(
    ("changes", "heard"),
    [
        ({}, ExecutionNews),
        ({"sec_type": "STK", "shares": "3"}, ExecutionNews),
        # a share's part is traded by hand, and a combination's legs have executions of their own
        ({"sec_type": "STK", "shares": "0.5"}, None),
        ({"sec_type": "BAG", "price": "-1.20"}, None),
        # an option has no parts, a price is not negative, a side is one of two: such a line is damaged, not passed over
        ({"shares": "0.5"}, GarbledNews),
        ({"shares": "0"}, GarbledNews),
        ({"price": "-1"}, GarbledNews),
        ({"price": "nan"}, GarbledNews),
        ({"side": "B?T"}, GarbledNews),
        ({"exec_id": ""}, GarbledNews),
        ({"sec_type": "STK", "shares": "many"}, GarbledNews),
    ],
)
def test_an_execution_is_read_whole_or_said_to_be_damaged(changes: dict[str, str], heard: type[Any] | None) -> None:
    news: list[Any] = []
    ib = IB()
    BrokerOrders(news.append).bind(ib)
    fields = [(WHOLE | changes).get(name, "") for name in LAYOUT]
    with contextlib.suppress(ValueError):  # the library may not be able to read it either
        ib.client.decoder.handlers[EXECUTION](fields)
    assert [type(one) for one in news] == ([heard] if heard else [])
