"""The gateway's field layouts against frames recorded from real gateways (../shared/data/frames)."""

import json
from pathlib import Path

import pytest

from alphatrader.sandbox.gateway import layouts, order_layouts
from alphatrader.sandbox.gateway.wire import encode_field
from alphatrader.sandbox.market.types import Bar, Contract

FRAMES = Path(__file__).parents[2] / "../shared/data/frames/frames.jsonl"
pytestmark = pytest.mark.skipif(not FRAMES.exists(), reason="../shared/data/frames is not here")


_SET_BY_AN_ORDER = (
    "orderId conId symbol secType lastTradeDate strike right multiplier exchange currency localSymbol tradingClass action "
    "totalQuantity orderType lmtPrice auxPrice tif account orderRef clientId permId sharesAllocation status commission "
    "commissionCurrency trailStopPrice adjustedTrailStopPrice rule80A minCompeteSize competeAgainstBestOffset"
)
SET_BY_AN_ORDER = frozenset(_SET_BY_AN_ORDER.split())


def recorded(*types):
    frames = [json.loads(line) for line in FRAMES.read_text().splitlines()] if FRAMES.exists() else []
    return [
        pytest.param(frame["fields"], frame["server_version"] or 176, id=f"{frame['type']}-{number}")
        for number, frame in enumerate(frames)
        if frame["type"] in types
    ]


def texts(fields):
    return [encode_field(field) for field in fields]


def same(ours, theirs):
    """Equal field by field; numbers by value, because real gateways pad them ("0.0", "96.90")."""
    assert len(ours) == len(theirs)
    for position, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        if our != their:
            assert float(our) == float(their), f"field {position}: {our!r} is not {their!r}"


def contract_of(con_id, symbol, sec_type, expiry, strike, right, multiplier, exchange, currency, local_symbol, trading_class):
    return Contract(
        int(con_id),
        symbol,
        sec_type,
        currency=currency,
        primary_exchange=exchange,
        expiry=expiry,
        strike=float(strike or 0),
        right=right,
        multiplier=multiplier,
        local_symbol=local_symbol,
        trading_class=trading_class,
    )


@pytest.mark.parametrize(("fields", "version"), recorded("handshake", "managedAccounts", "nextValidId", "currentTime"))
def test_the_first_messages(fields, version):
    match fields[0]:
        case "15":
            ours = layouts.managed_accounts(fields[2])
        case "9":
            ours = layouts.next_valid_id(int(fields[2]))
        case "49":
            ours = layouts.current_time(int(fields[2]))
        case _:
            ours = layouts.handshake(int(fields[0]), fields[1])
    same(texts(ours), fields)


@pytest.mark.parametrize(("fields", "version"), recorded("error"))
def test_errors_carry_the_reject_field_from_166(fields, version):
    same(texts(layouts.error(int(fields[2]), int(fields[3]), fields[4], version)), fields)


@pytest.mark.parametrize(("fields", "version"), recorded("openOrder"))
def test_open_order_is_the_recorded_one_given_its_values(fields, version):
    """What an order sets is taken from the recording; every other field must be what we send by default."""
    names = order_layouts.open_order_names(version)
    values = {name: text for name, text in zip(names, fields[1:], strict=True) if name in SET_BY_AN_ORDER}
    same(texts(order_layouts.open_order(values, version)), fields)


@pytest.mark.parametrize(("fields", "version"), recorded("orderStatus"))
def test_order_status(fields, version):
    _, order_id, status, filled, remaining, average, perm_id, parent_id, last, client_id, why_held, _cap = fields
    ours = layouts.order_status(
        int(order_id),
        status,
        int(filled),
        int(remaining),
        float(average),
        int(perm_id),
        int(parent_id),
        float(last),
        int(client_id),
        why_held,
    )
    same(texts(ours), fields)


@pytest.mark.parametrize(("fields", "version"), recorded("execDetails"))
def test_exec_details(fields, version):
    (
        _,
        req_id,
        order_id,
        *contract,
        exec_id,
        time,
        account,
        exchange,
        side,
        shares,
        price,
        perm_id,
        client_id,
        _,
        cum,
        avg,
        ref,
    ) = fields[:27]
    ours = layouts.exec_details(
        int(req_id),
        int(order_id),
        contract_of(*contract),
        exec_id,
        time,
        account,
        exchange,
        side,
        int(shares),
        float(price),
        int(perm_id),
        int(client_id),
        int(cum),
        float(avg),
        ref,
        int(fields[30]),
    )
    same(texts(ours), fields)


@pytest.mark.parametrize(("fields", "version"), recorded("commissionReport"))
def test_commission_report(fields, version):
    same(texts(layouts.commission_report(fields[2], fields[3], fields[4], None)), fields)


@pytest.mark.parametrize(("fields", "version"), recorded("position"))
def test_position(fields, version):
    contract = contract_of(*fields[3:14])
    quantity = float(fields[14])
    ours = texts(layouts.position(fields[2], contract, quantity, float(fields[15])))
    if contract.sec_type != "STK":  # ours leaves the exchange empty for all but stocks, as recorded
        contract = contract_of(*fields[3:10], "", *fields[11:14])
    same(ours, fields)


@pytest.mark.parametrize(
    ("fields", "version"), recorded("accountSummary", "accountSummaryEnd", "positionEnd", "contractDetailsEnd", "headTimestamp")
)
def test_account_summary_and_ends(fields, version):
    match fields[0]:
        case "63":
            ours = layouts.account_summary(int(fields[2]), *fields[3:])
        case "64":
            ours = layouts.account_summary_end(int(fields[2]))
        case "62":
            ours = layouts.position_end()
        case "52":
            ours = layouts.contract_details_end(int(fields[2]))
        case _:
            ours = layouts.head_timestamp(int(fields[1]), fields[2])
    same(texts(ours), fields)


@pytest.mark.parametrize(("fields", "version"), recorded("contractDetails"))
def test_contract_details_have_the_recorded_shape(fields, version):
    """Values that belong to the contract are put back; the rest must agree in count, order and kind."""
    (
        _,
        req_id,
        symbol,
        sec_type,
        expiry,
        strike,
        right,
        exchange,
        currency,
        local_symbol,
        _market,
        trading_class,
        con_id,
        tick,
    ) = fields[:14]
    (multiplier, _types, venues, _magnifier, under, name, primary, month, *_industry, _zone, trading, liquid) = fields[14:28]
    secids = int(fields[30])
    tail = fields[31 + 2 * secids :]
    contract = Contract(
        int(con_id),
        symbol,
        sec_type,
        currency=currency,
        primary_exchange=primary,
        expiry=expiry,
        strike=float(strike),
        right=right,
        multiplier=multiplier,
        local_symbol=local_symbol,
        trading_class=trading_class,
        min_tick=float(tick),
        long_name=name,
        contract_month=month,
        under_con_id=int(under),
        under_symbol=tail[1],
        under_sec_type=tail[2],
        stock_type=tail[5],
        valid_exchanges=venues,
    )
    ours = texts(
        layouts.contract_details(
            int(req_id),
            contract,
            exchange=exchange,
            trading_hours=trading,
            liquid_hours=liquid,
            rule_ids=tail[3],
            version=version,
            agg_group=int(tail[0]),
        )
    )
    theirs = [*fields[:30], "0", *tail]  # we send no security ids
    assert len(ours) == len(theirs)
    free = {
        10,
        15,
        17,
        22,
        23,
        24,
        25,
        35,
    }  # market name, order types, price magnifier, industry texts, time zone, real expiration
    free |= {len(ours) - 3, len(ours) - 2, len(ours) - 1}  # size rules
    for position, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        if position not in free and our != their:
            assert float(our) == float(their), f"field {position}: {our!r} is not {their!r}"


@pytest.mark.parametrize(("fields", "version"), recorded("historicalData"))
def test_historical_data(fields, version):
    rows = [fields[5 + 8 * row : 13 + 8 * row] for row in range(int(fields[4]))]
    bars = [(r[0], Bar(0, *map(float, r[1:5]), int(r[5]), float(r[6]), int(r[7]))) for r in rows]
    same(texts(layouts.historical_data(int(fields[1]), fields[2], fields[3], bars)), fields)


@pytest.mark.parametrize(("fields", "version"), recorded("marketDepthL2", "tickByTick", "historicalDataUpdate"))
def test_live_data(fields, version):
    match fields[0]:
        case "13":
            _, _, req_id, position, maker, operation, side, price, size, smart = fields
            ours = layouts.depth_l2(
                int(req_id), int(position), maker, int(operation), int(side), float(price), int(size), smart == "1"
            )
        case "99":
            _, req_id, _, seconds, bid, ask, bid_size, ask_size, mask = fields
            ours = layouts.tick_by_tick_bid_ask(
                int(req_id), int(seconds), float(bid), float(ask), int(bid_size), int(ask_size), int(mask)
            )
        case _:
            _, req_id, count, date, open_, close, high, low, wap, volume = fields
            bar = Bar(0, float(open_), float(high), float(low), float(close), float(volume), float(wap), int(count))
            ours = layouts.historical_update(int(req_id), date, bar)
    same(texts(ours), fields)
