"""Field layouts of what the gateway sends, server versions 157..176. Pure: values in, tuples of fields out.

Held field by field to frames recorded from real gateways (`tests/sandbox/test_gateway_layouts.py`). openOrder and
completedOrder are in `order_layouts.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from alphatrader.sandbox.gateway.wire import UNSET_DOUBLE, Field, Fields
from alphatrader.sandbox.market.types import Bar, Contract

ORDER_TYPES = "ACTIVETIM,ADJUST,ALERT,BASKET,COND,CONDORDER,DAY,GTC,IOC,LMT,MKT,OCA,STP,STPLMT,TRAIL,WHATIF"


def handshake(version: int, time_text: str) -> Fields:
    return (version, time_text)


def managed_accounts(accounts: str) -> Fields:
    return (15, 1, accounts)


def next_valid_id(order_id: int) -> Fields:
    return (9, 1, order_id)


def error(req_id: int, code: int, text: str, version: int) -> Fields:
    base: Fields = (4, 2, req_id, code, text)
    return (*base, "") if version >= 166 else base


def current_time(epoch_seconds: int) -> Fields:
    return (49, 1, epoch_seconds)


# --- market data ---------------------------------------------------------------------------------------------------


def tick_price(req_id: int, tick: int, price: float, size: int, mask: int = 0) -> Fields:
    return (1, 6, req_id, tick, price, size, mask)


def tick_size(req_id: int, tick: int, size: int) -> Fields:
    return (2, 6, req_id, tick, size)


def tick_generic(req_id: int, tick: int, value: float) -> Fields:
    return (45, 6, req_id, tick, value)


def tick_string(req_id: int, tick: int, text: str) -> Fields:
    return (46, 6, req_id, tick, text)


def tick_option(
    req_id: int,
    tick: int,
    implied_vol: float | None,
    delta: float | None,
    price: float | None,
    gamma: float | None,
    vega: float | None,
    theta: float | None,
    under: float | None,
) -> Fields:
    """No field may be empty: -1 (volatility, price, underlying) and -2 (greeks) say "not computed"."""
    return (
        21,
        req_id,
        tick,
        0,
        -1 if implied_vol is None else implied_vol,
        -2 if delta is None else delta,
        -1 if price is None else price,
        0,
        -2 if gamma is None else gamma,
        -2 if vega is None else vega,
        -2 if theta is None else theta,
        -1 if under is None else under,
    )


def tick_req_params(req_id: int, min_tick: float, bbo_exchange: str, permissions: int = 3) -> Fields:
    return (81, req_id, min_tick, bbo_exchange, permissions)


def market_data_type(req_id: int, kind: int) -> Fields:
    return (58, 1, req_id, kind)


def snapshot_end(req_id: int) -> Fields:
    return (57, 1, req_id)


def depth(req_id: int, position: int, operation: int, side: int, price: float, size: int) -> Fields:
    return (12, 1, req_id, position, operation, side, price, size)


def depth_l2(req_id: int, position: int, maker: str, operation: int, side: int, price: float, size: int, smart: bool) -> Fields:
    return (13, 1, req_id, position, maker, operation, side, price, size, smart)


def tick_by_tick_last(
    req_id: int, kind: int, seconds: int, price: float, size: int, mask: int, exchange: str, conditions: str
) -> Fields:
    return (99, req_id, kind, seconds, price, size, mask, exchange, conditions)


def tick_by_tick_bid_ask(
    req_id: int, seconds: int, bid: float, ask: float, bid_size: int, ask_size: int, mask: int = 0
) -> Fields:
    return (99, req_id, 3, seconds, bid, ask, bid_size, ask_size, mask)


def tick_by_tick_mid(req_id: int, seconds: int, mid: float) -> Fields:
    return (99, req_id, 4, seconds, mid)


def realtime_bar(req_id: int, bar: Bar) -> Fields:
    return (50, 3, req_id, bar.ts_ns // 10**9, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.wap, bar.count)


def historical_data(req_id: int, start: str, end: str, bars: Sequence[tuple[str, Bar]]) -> Fields:
    rows: list[Field] = [17, req_id, start, end, len(bars)]
    for date, bar in bars:
        rows += (date, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.wap, bar.count)
    return tuple(rows)


def historical_update(req_id: int, date: str, bar: Bar) -> Fields:
    """Field order differs from historicalData: count, date, open, close, high, low, wap, volume."""
    return (90, req_id, bar.count, date, bar.open, bar.close, bar.high, bar.low, bar.wap, bar.volume)


def head_timestamp(req_id: int, text: str) -> Fields:
    return (88, req_id, text)


# --- reference data ------------------------------------------------------------------------------------------------


def contract_details(
    req_id: int,
    contract: Contract,
    *,
    exchange: str,
    trading_hours: str,
    liquid_hours: str,
    rule_ids: str,
    version: int,
    agg_group: int = 1,
) -> Fields:
    new = version >= 164
    head: Fields = (10,) if new else (10, 8)
    first: Fields = (
        req_id,
        contract.symbol,
        contract.sec_type,
        contract.expiry,
        contract.strike,
        contract.right,
        exchange,
        contract.currency,
        contract.local_symbol,
        contract.trading_class,
        contract.trading_class,
        contract.con_id,
        contract.min_tick,
    )
    middle: Fields = (
        contract.multiplier,
        ORDER_TYPES,
        contract.valid_exchanges,
        1,
        contract.under_con_id,
        contract.long_name,
        contract.primary_exchange,
        contract.contract_month,
        "",
        "",
        "",
        "US/Eastern",  # the zone the hours are written in, whatever the contract's own
        trading_hours,
        liquid_hours,
        "",
        "",
        0,
        agg_group,
        contract.under_symbol,
        contract.under_sec_type,
        rule_ids,
        contract.expiry,
        contract.stock_type,
    )
    suggested = "100" if contract.sec_type == "STK" else "1"
    sizes: Fields = ("1", "1", suggested) if new else (suggested,) if version == 163 else ()
    return head + first + (() if new else (1,)) + middle + sizes


def contract_details_end(req_id: int) -> Fields:
    return (52, 1, req_id)


def sec_def_params(
    req_id: int,
    exchange: str,
    under_con_id: int,
    trading_class: str,
    multiplier: str,
    expiries: Sequence[str],
    strikes: Sequence[float],
) -> Fields:
    return (75, req_id, exchange, under_con_id, trading_class, multiplier, len(expiries), *expiries, len(strikes), *strikes)


def sec_def_params_end(req_id: int) -> Fields:
    return (76, req_id)


def depth_exchanges(rows: Iterable[tuple[str, str, str, str, int]]) -> Fields:
    rows = list(rows)
    return (80, len(rows), *(field for row in rows for field in row))


def smart_components(req_id: int, rows: Iterable[tuple[int, str, str]]) -> Fields:
    rows = list(rows)
    return (82, req_id, len(rows), *(field for row in rows for field in row))


def market_rule(rule_id: int, increments: Iterable[tuple[float, float]]) -> Fields:
    rows = list(increments)
    return (93, rule_id, len(rows), *(field for row in rows for field in row))


def symbol_samples(req_id: int, contracts: Sequence[tuple[Contract, Sequence[str]]], version: int) -> Fields:
    fields: list[Field] = [79, req_id, len(contracts)]
    for contract, derivatives in contracts:
        fields += (contract.con_id, contract.symbol, contract.sec_type, contract.primary_exchange, contract.currency)
        fields += (len(derivatives), *derivatives)
        if version >= 176:
            fields += (contract.long_name, "")
    return tuple(fields)


def family_codes(account: str) -> Fields:
    return (78, 1, account, "")


# --- account -------------------------------------------------------------------------------------------------------


def _contract_without_exchange(contract: Contract) -> Fields:
    return (
        contract.con_id,
        contract.symbol,
        contract.sec_type,
        contract.expiry,
        contract.strike,
        contract.right,
        contract.multiplier,
    )


def position(account: str, contract: Contract, quantity: int, average_cost: float) -> Fields:
    exchange = contract.primary_exchange if contract.sec_type == "STK" else ""
    tail: Fields = (exchange, contract.currency, contract.local_symbol, contract.trading_class, quantity, average_cost)
    return (61, 3, account, *_contract_without_exchange(contract), *tail)


def position_end() -> Fields:
    return (62, 1)


def portfolio_value(
    contract: Contract,
    quantity: int,
    price: float,
    value: float,
    average_cost: float,
    unrealized: float,
    realized: float,
    account: str,
) -> Fields:
    exchange = contract.primary_exchange or contract.exchange
    tail: Fields = (exchange, contract.currency, contract.local_symbol, contract.trading_class)
    numbers: Fields = (quantity, price, value, average_cost, unrealized, realized)
    return (7, 8, *_contract_without_exchange(contract), *tail, *numbers, account)


def account_value(tag: str, value: str, currency: str, account: str) -> Fields:
    return (6, 2, tag, value, currency, account)


def account_time(text: str) -> Fields:
    return (8, 1, text)


def account_download_end(account: str) -> Fields:
    return (54, 1, account)


def account_summary(req_id: int, account: str, tag: str, value: str, currency: str) -> Fields:
    return (63, 1, req_id, account, tag, value, currency)


def account_summary_end(req_id: int) -> Fields:
    return (64, 1, req_id)


def account_update_multi(req_id: int, account: str, tag: str, value: str, currency: str) -> Fields:
    return (73, 1, req_id, account, "", tag, value, currency)


def account_update_multi_end(req_id: int) -> Fields:
    return (74, 1, req_id)


def pnl(req_id: int, daily: float, unrealized: float, realized: float) -> Fields:
    return (94, req_id, daily, unrealized, realized)


def pnl_single(req_id: int, quantity: int, daily: float, unrealized: float, realized: float, value: float) -> Fields:
    return (95, req_id, quantity, daily, unrealized, realized, value)


# --- orders --------------------------------------------------------------------------------------------------------


def order_status(
    order_id: int,
    status: str,
    filled: int,
    remaining: int,
    average: float,
    perm_id: int,
    parent_id: int,
    last: float,
    client_id: int,
    why_held: str,
) -> Fields:
    return (3, order_id, status, filled, remaining, average, perm_id, parent_id, last, client_id, why_held, 0)


def exec_details(
    req_id: int,
    order_id: int,
    contract: Contract,
    exec_id: str,
    time_text: str,
    account: str,
    exchange: str,
    side: str,
    shares: int,
    price: float,
    perm_id: int,
    client_id: int,
    cumulative: int,
    average: float,
    order_ref: str,
    liquidity: int,
) -> Fields:
    name: Fields = (exchange, contract.currency, contract.local_symbol, contract.trading_class)
    trade: Fields = (exec_id, time_text, account, exchange, side, shares, price, perm_id, client_id, 0, cumulative, average)
    return (11, req_id, order_id, *_contract_without_exchange(contract), *name, *trade, order_ref, "", "", "", liquidity)


def commission_report(exec_id: str, commission: str, currency: str, realized: str | None) -> Fields:
    return (59, 1, exec_id, commission, currency, UNSET_DOUBLE if realized is None else realized, UNSET_DOUBLE, "")


def open_order_end() -> Fields:
    return (53, 1)


def exec_details_end(req_id: int) -> Fields:
    return (55, 1, req_id)


def completed_orders_end() -> Fields:
    return (102,)
