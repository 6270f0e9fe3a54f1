"""`alphatrader why SYMBOL`: each strategy's gates on the way to a signal, and what became of its last signals.
`alphatrader why ID`: the whole way of one signal or intent: risk's verdict, its orders with their ends, its fills, its trade.

Exit codes: 0 shown, 1 nothing is said of the symbol now, 2 no such equity, signal or intent, 3 the servers cannot be reached.
"""

from __future__ import annotations

import argparse
import sys
from decimal import Decimal
from typing import Any, Final

from alphatrader.commands import DONE, MISUSED, WRONG
from alphatrader.commands.access import Cell, open_access, plain, print_json, say, show
from alphatrader.contract import keys as k
from alphatrader.contract.messages.risk import Approval
from alphatrader.contract.messages.signals import SignalEvent, WhyNot
from alphatrader.core.orders.refs import intent_of
from alphatrader.runtime.clock import exchange_datetime
from alphatrader.runtime.store import Store

LAST_VERDICTS: Final = 10
SIGNALS_BACK: Final = 2000
"""Events of signals that are looked through for one that risk has not judged."""
_UNJUDGED: Final = (
    "risk has given no verdict: it was away, waited for its turn, or the signal came from an instance that was replaced"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="SYMBOL|ID", help="an equity such as SPY, or the id of a signal, intent or order")


def run(args: argparse.Namespace) -> int:
    access = open_access()
    equities = access.settings.market.equities
    if args.what.upper() in equities:
        return _symbol(access.store, args.what.upper(), args.json)
    story = story_of(access.store, args.what)
    if story is None:
        wanted = f"signals are made for {', '.join(equities)}; there is no signal, intent or order"
        sys.stderr.write(f"alphatrader why: {wanted} {args.what}\n")
        return MISUSED
    if args.json:
        print_json(story)
        return DONE
    say(f"{story['intent']}: {story['outcome']}")
    show("When (ET)", "What", "State", "Why, and values", rows=[_step(step) for step in story["steps"]])
    return DONE


# -- a symbol


def _symbol(store: Store, symbol: str, as_json: bool) -> int:
    message, verdicts = store.get(k.SIGNALS_WHY.at(symbol=symbol)), _last_verdicts(store, symbol)
    if message is None and not verdicts:
        sys.stderr.write(f"alphatrader why: signals has said nothing of {symbol} for 300 s; see `alphatrader status`\n")
        return WRONG
    if as_json:
        gates = plain(message) if message else {"symbol": symbol, "ts_ns": None, "by_strategy": None}
        print_json(gates | {"verdicts": verdicts})
        return DONE
    if message is not None:
        _show_gates(message)
    else:
        say(f"{symbol}: signals has said nothing for 300 s")
    if verdicts:
        say("\nIts last signals (`alphatrader why ID` tells more):")
        show("When (ET)", "Signal", "Verdict", "Became", "Why", rows=[_verdict_row(one) for one in verdicts])
    return DONE


def _show_gates(message: WhyNot) -> None:
    say(f"{message.symbol} at {exchange_datetime(message.ts_ns):%Y-%m-%d %H:%M:%S} ET")
    rows: list[tuple[Cell, ...]] = []
    for strategy, gates in message.by_strategy.items():
        for number, gate in enumerate(gates):
            passed = ("pass", "green") if gate.passed else ("STOP", "red")
            rows.append((strategy if number == 0 else "", passed, gate.name, gate.value, gate.needed))
    show("Strategy", "", "Gate", "Value", "Needed", rows=rows)


def _last_verdicts(store: Store, symbol: str) -> list[dict[str, Any]]:
    """Newest first; of each what became of it in a word."""
    mine = [verdict for verdict in store.fields(k.LEDGER_APPROVALS.at()).values() if verdict.symbol == symbol]
    newest = sorted(mine, key=lambda verdict: verdict.ts_ns, reverse=True)[:LAST_VERDICTS]
    found = []
    for verdict in newest:
        entry = store.field(k.LEDGER_ORDERS.at(), verdict.intent_id)
        found.append(
            {
                "at": _at(verdict.ts_ns),
                "signal": verdict.signal_id,
                "approved": verdict.approved,
                "became": (entry.state if entry else "no order was written") if verdict.approved else "-",
                "why": entry.reason if verdict.approved and entry and entry.reason else verdict.reason,
            }
        )
    return found


def _verdict_row(one: dict[str, Any]) -> tuple[Cell, ...]:
    verdict = ("approved", "green") if one["approved"] else ("refused", "red")
    return one["at"], one["signal"], verdict, one["became"], one["why"]


# -- one signal


def story_of(store: Store, name: str) -> dict[str, Any] | None:
    """All that is known of a signal, an intent or an order by its id; None where nothing is."""
    verdicts = store.fields(k.LEDGER_APPROVALS.at()).values()
    verdict = next((one for one in verdicts if name in (one.signal_id, one.intent_id) or intent_of(name) == one.intent_id), None)
    intent_id = verdict.intent_id if verdict else intent_of(name)
    signal_id = verdict.signal_id if verdict else name
    made = _signal_events(store, signal_id)
    orders = [record for record in store.fields(k.LEDGER_ORDERS.at()).values() if record.intent_id == intent_id]
    fills = [fill for fill in store.fields(k.LEDGER_FILLS.at()).values() if intent_of(fill.order_ref) == intent_id]
    trade = store.field(k.LEDGER_TRADES.at(), intent_id)
    if not (verdict or made or orders or fills or trade):
        return None
    steps: list[tuple[int, str, str, str]] = []
    for event in made:
        one = event.signal
        what = f"{one.symbol} {one.strategy} {one.direction}, {one.quantity} at {one.entry:g}, confidence {one.confidence:.1f}"
        steps.append((one.ts_ns, f"signal {one.id}", event.kind, event.reason or what))
    if verdict is not None:
        steps.append((verdict.ts_ns, "risk's verdict", "approved" if verdict.approved else "refused", verdict.reason))
    elif made:
        steps.append((made[-1].signal.ts_ns, "risk's verdict", "none", _UNJUDGED))
    for record in orders:
        price = record.stop_price or record.limit_price or "market"
        what = f"{record.side} {record.quantity} at {price}, {record.filled} filled"
        steps.append((record.updated_ns, record.id, record.state, f"{what}{f'; {record.reason}' if record.reason else ''}"))
    for fill in fills:
        costs = "commission not reported yet" if fill.commission is None else f"commission {fill.commission}"
        steps.append((fill.ts_ns, f"fill of {fill.order_ref}", fill.side, f"{fill.quantity} at {fill.price}, {costs}"))
    if trade is not None:
        steps.append((trade.closed_ns, "trade", "closed", f"P&L {trade.pnl:+} USD: {trade.reason}"))
    entry = next((record for record in orders if record.role == "entry"), None)
    outcome = _outcome(verdict, entry.state if entry else None, entry.reason if entry else None, trade.pnl if trade else None)
    told = [{"at": _at(at), "what": what, "state": state, "why": why} for at, what, state, why in sorted(steps)]
    return {"intent": intent_id, "signal": signal_id, "outcome": outcome, "steps": told}


def _signal_events(store: Store, signal_id: str) -> list[SignalEvent]:
    """Oldest first."""
    latest = store.latest(k.EVENTS_SIGNALS.at(), SIGNALS_BACK)
    return [event for event in reversed(latest) if event.signal.id == signal_id]


def _outcome(verdict: Approval | None, state: str | None, reason: str | None, pnl: Decimal | None) -> str:
    if pnl is not None:
        return f"traded and closed, P&L {pnl:+} USD"
    if state == "FILLED":
        return "traded: the entry was filled"
    if state is not None:
        return f"the entry is {state}{f': {reason}' if reason else ''}"
    if verdict is None:
        return f"not traded: {_UNJUDGED}"
    if not verdict.approved:
        return f"not traded: risk refused it: {verdict.reason}"
    return "not traded: approved, but execution wrote no order (it was away, or the approval was over a second old when it came)"


def _step(step: dict[str, str]) -> tuple[Cell, ...]:
    return step["at"], step["what"], step["state"], step["why"]


def _at(ts_ns: int) -> str:
    return f"{exchange_datetime(ts_ns):%Y-%m-%d %H:%M:%S}"
