"""Every recorded frame, read by the gateway's field layouts and written again: the same bytes, or a stated reason why not.

`test_gateway_layouts.py` compares values field by field; here the texts of a frame go through the layout that sends it, so what
comes out differs only where the layout itself decides a field.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alphatrader.sandbox.gateway import layouts, order_layouts
from alphatrader.sandbox.gateway.wire import decode_fields, encode_frame

FRAMES = Path(__file__).parents[2] / "../shared/data/frames/frames.jsonl"
pytestmark = pytest.mark.skipif(not FRAMES.exists(), reason="../shared/data/frames is not here")

ALL = 326
NOT_SERVED = {
    "historicalTicksBidAsk": "the gateway serves no reqHistoricalTicks: nothing in the product asks for it",
    "historicalTicksLast": "the gateway serves no reqHistoricalTicks: nothing in the product asks for it",
}
# Fields of contractDetails that the stand-in decides for its own contracts, by place; security ids (from 30 on) it sends none.
DECIDED = {
    15: "order types",
    17: "price magnifier",
    22: "industry",
    23: "category",
    24: "subcategory",
    25: "time zone of the hours, always US/Eastern",
}
DECIDED_FROM_THE_END = {-5: "real expiration", -3: "least size", -2: "size increment", -1: "suggested size increment"}


def contract(fields: list[str], *, exchange: str = "") -> Any:
    con_id, symbol, sec_type, expiry, strike, right, multiplier, told, currency, local_symbol, trading_class = fields
    return SimpleNamespace(
        con_id=con_id, symbol=symbol, sec_type=sec_type, expiry=expiry, strike=strike, right=right, multiplier=multiplier,
        exchange=exchange or told, primary_exchange=told, currency=currency, local_symbol=local_symbol,
        trading_class=trading_class,
    )  # fmt: skip


def error(f: list[str], version: int) -> Any:
    return layouts.error(f[2], f[3], f[4], version)  # type: ignore[arg-type]


def open_order(f: list[str], version: int) -> Any:
    return order_layouts.open_order(dict(zip(order_layouts.open_order_names(version), f[1:], strict=True)), version)


def exec_details(f: list[str], version: int) -> Any:
    c = contract(f[3:14])
    return layouts.exec_details(
        f[1], f[2], c, f[14], f[15], f[16], f[17], f[18], f[19], f[20], f[21], f[22], f[24], f[25], f[26], f[30]  # type: ignore[arg-type]
    )  # fmt: skip


def historical(f: list[str], version: int) -> Any:
    rows = [f[5 + 8 * row : 13 + 8 * row] for row in range(int(f[4]))]
    names = ("open", "high", "low", "close", "volume", "wap", "count")
    bars = [(row[0], SimpleNamespace(**dict(zip(names, row[1:], strict=True)))) for row in rows]
    return layouts.historical_data(f[1], f[2], f[3], bars)  # type: ignore[arg-type]


def historical_update(f: list[str], version: int) -> Any:
    names = ("count", "date", "open", "close", "high", "low", "wap", "volume")
    bar = SimpleNamespace(**dict(zip(names, f[2:], strict=True)))
    return layouts.historical_update(f[1], bar.date, bar)  # type: ignore[arg-type]


def contract_details(f: list[str], version: int) -> Any:
    ids = 2 * int(f[30])
    tail = f[31 + ids :]
    c = SimpleNamespace(
        symbol=f[2], sec_type=f[3], expiry=f[4], strike=f[5], right=f[6], currency=f[8], local_symbol=f[9], trading_class=f[11],
        con_id=f[12], min_tick=f[13], multiplier=f[14], valid_exchanges=f[16], under_con_id=f[18], long_name=f[19],
        primary_exchange=f[20], contract_month=f[21], under_symbol=tail[1], under_sec_type=tail[2], stock_type=tail[5],
    )  # fmt: skip
    return layouts.contract_details(
        f[1], c, exchange=f[7], trading_hours=f[26], liquid_hours=f[27], rule_ids=tail[3], version=version, agg_group=tail[0]
    )  # fmt: skip


Written = Callable[[list[str], int], Any]
LAYOUTS: dict[str, Written] = {
    "handshake": lambda f, v: layouts.handshake(f[0], f[1]),  # type: ignore[arg-type]
    "managedAccounts": lambda f, v: layouts.managed_accounts(f[2]),
    "nextValidId": lambda f, v: layouts.next_valid_id(f[2]),  # type: ignore[arg-type]
    "currentTime": lambda f, v: layouts.current_time(f[2]),  # type: ignore[arg-type]
    "error": error,
    "openOrder": open_order,
    "orderStatus": lambda f, v: layouts.order_status(*f[1:11]),  # type: ignore[arg-type]
    "execDetails": exec_details,
    "commissionReport": lambda f, v: layouts.commission_report(f[2], f[3], f[4], f[5]),
    "position": lambda f, v: layouts.position(f[2], contract(f[3:14]), f[14], f[15]),  # type: ignore[arg-type]
    "positionEnd": lambda f, v: layouts.position_end(),
    "accountSummary": lambda f, v: layouts.account_summary(f[2], *f[3:]),  # type: ignore[arg-type]
    "accountSummaryEnd": lambda f, v: layouts.account_summary_end(f[2]),  # type: ignore[arg-type]
    "contractDetails": contract_details,
    "contractDetailsEnd": lambda f, v: layouts.contract_details_end(f[2]),  # type: ignore[arg-type]
    "headTimestamp": lambda f, v: layouts.head_timestamp(f[1], f[2]),  # type: ignore[arg-type]
    "historicalData": historical,
    "historicalDataUpdate": historical_update,
    "marketDepthL2": lambda f, v: layouts.depth_l2(*f[2:]),  # type: ignore[arg-type]
    "tickByTick": lambda f, v: layouts.tick_by_tick_bid_ask(f[1], *f[3:]),  # type: ignore[arg-type]
}


def put_back(told: list[str], fields: list[str]) -> list[str]:
    """contractDetails as written, with what the stand-in decides taken from the recording."""
    ids = 2 * int(fields[30])
    told = [*told[:30], *fields[30 : 31 + ids], *told[31:]]
    for at in (*DECIDED, *DECIDED_FROM_THE_END):
        told[at] = fields[at]
    return told


def test_every_recorded_frame_is_written_again_or_named():
    frames = [json.loads(line) for line in FRAMES.read_text().splitlines()]
    same, but_for_decided = Counter[str](), 0
    for frame in frames:
        kind, fields, version = frame["type"], frame["fields"], frame["server_version"] or 176
        if kind in NOT_SERVED:
            continue
        ours = encode_frame(LAYOUTS[kind](fields, version))
        if ours != encode_frame(fields) and kind == "contractDetails":
            ours = encode_frame(put_back(decode_fields(ours[4:]), fields))
            but_for_decided += 1
        assert ours == encode_frame(fields), f"{kind} {fields}: written as {decode_fields(ours[4:])}"
        same[kind] += 1
    decided = ", ".join([*DECIDED.values(), *DECIDED_FROM_THE_END.values()])
    lines = [
        f"{sum(same.values())} of {len(frames)} recorded frames are written again to the same bytes;",
        f"{but_for_decided} of them, all contractDetails, but for: {decided}, security ids",
        *(f"not served: {kind}: {why}" for kind, why in NOT_SERVED.items()),
    ]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert (len(frames), sum(same.values())) == (ALL, ALL - len(NOT_SERVED))
