"""`alphatrader restore`: the money ledgers, from the journals on disk, into a state server that has lost them.

For when the state server comes up empty: stop the system, start that server alone (`honcho start state`), run this, start the
system. Execution then reconciles with the broker as at any start, and trading stays halted until somebody resumes.

It writes nothing while a module that owns a ledger runs, and nothing over ledgers that hold something, unless told `--over`: then
it adds what is missing, and of a fill takes the higher revision. So running it twice changes nothing. Each ledger is written as
its own writer. Exit codes: 0 restored, 1 refused or nothing to restore, 3 the server cannot be reached.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from alphatrader.commands import DONE, WRONG
from alphatrader.commands.access import Access, open_access, print_json, say
from alphatrader.contract import keys as k
from alphatrader.contract.key import Key
from alphatrader.contract.messages.orders import Fill, OrderRecord
from alphatrader.contract.messages.positions import ClosedTrade
from alphatrader.contract.messages.risk import Approval, RiskState
from alphatrader.contract.modules import Module
from alphatrader.core.positions.booking import newer
from alphatrader.runtime.journal import FILES, Line, whole
from alphatrader.runtime.store import Store

LEDGERS: Final[dict[str, tuple[Key[Any], Module]]] = {
    "orders": (k.LEDGER_ORDERS, Module.EXECUTION),
    "fills": (k.LEDGER_FILLS, Module.EXECUTION),
    "approvals": (k.LEDGER_APPROVALS, Module.RISK),
    "trades": (k.LEDGER_TRADES, Module.POSITIONS),
    "adjustments": (k.LEDGER_ADJUSTMENTS, Module.POSITIONS),
}
"""Books' field -> its ledger and who writes it."""
_AT_ONCE: Final = 1000


@dataclass
class Books:
    """What the journals say, each thing once."""

    orders: dict[str, OrderRecord] = field(default_factory=dict)
    fills: dict[str, Fill] = field(default_factory=dict)
    approvals: dict[str, Approval] = field(default_factory=dict)
    trades: dict[str, ClosedTrade] = field(default_factory=dict)
    adjustments: dict[str, Fill] = field(default_factory=dict)
    risk: RiskState | None = None
    unreadable: int = 0
    """Lines cut off by a crash, or not ours."""

    def take(self, line: Line | None) -> None:
        match line:
            case None:
                self.unreadable += 1
            case Line(kind="order", order=OrderRecord() as order):
                self.orders[order.id] = order
            case Line(kind="fill", fill=Fill() as fill):
                self.fills[fill.key] = newer(self.fills.get(fill.key), fill)
            case Line(kind="approval", approval=Approval() as approval):
                self.approvals[approval.intent_id] = approval
            case Line(kind="trade", trade=ClosedTrade() as trade):
                self.trades[trade.position_id] = trade
            case Line(kind="adjustment", fill=Fill() as fill):
                self.adjustments[fill.key] = fill
            case Line(kind="trade"):
                self.trades.pop(line.dropped, None)
            case Line(kind="adjustment"):
                self.adjustments.pop(line.dropped, None)
            case Line(kind="risk", risk=RiskState() as risk):
                self.risk = risk
            case _:
                self.unreadable += 1


def read(folder: Path) -> Books:
    books = Books()
    for writer in FILES:
        for line in whole(folder, writer):
            books.take(line)
    return books


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--over", action="store_true", help="add to ledgers that hold something already")


def run(args: argparse.Namespace) -> int:
    access = open_access()
    access.store.check_servers()
    books = read(access.folder)
    refusal = _refusal(access, books, over=args.over)
    if refusal:
        sys.stderr.write(f"alphatrader restore: {refusal}; nothing was changed\n")
        return WRONG
    restored = {name: _restore(access, name, getattr(books, name)) for name in LEDGERS}
    restored["risk"] = _restore_risk(access, books.risk)
    if args.json:
        print_json({"restored": restored, "unreadable": books.unreadable})
        return DONE
    say("Restored from the journals: " + ", ".join(f"{count} {name}" for name, count in restored.items()))
    if books.unreadable:
        say(f"{books.unreadable} lines of the journals cannot be read; what they held is lost unless the broker still has it")
    say("Start the system: execution reconciles with the broker before anything opens.")
    return DONE


def _refusal(access: Access, books: Books, *, over: bool) -> str | None:
    for writer in FILES:
        if access.store.get(k.LOCK.at(module=writer)) is not None:
            return f"{writer} runs: stop the system and start the state server alone (`honcho start state`)"
    if not any(getattr(books, name) for name in LEDGERS) and books.risk is None:
        return f"the journals in {access.folder.name} hold nothing"
    held = {key.pattern: count for key, _ in LEDGERS.values() if (count := access.store.length(key.at()))}
    if held and not over:
        found = ", ".join(f"{name} holds {count}" for name, count in held.items())
        return f"{found}: with --over what is missing is added"
    return None


def _restore(access: Access, name: str, wanted: dict[str, Any]) -> int:
    """Writes what the ledger does not have, or has in an older revision; how many that was."""
    key, writer = LEDGERS[name]
    known = access.store.fields(key.at())
    store = Store(writer, access.settings, access.vault.redis_password(writer))
    written = 0
    for part in _parts((item, value) for item, value in wanted.items() if _is_news(known.get(item), value)):
        batch = store.batch()
        for item, value in part:
            batch.put_field(key.at(), item, value)
        store.commit(batch)
        written += len(part)
    store.close()
    return written


def _is_news(known: Any, value: Any) -> bool:
    if known is None:
        return True
    return isinstance(value, Fill) and newer(known, value) != known


def _parts(items: Iterable[tuple[str, Any]]) -> Iterator[list[tuple[str, Any]]]:
    iterator = iter(items)
    while part := list(islice(iterator, _AT_ONCE)):
        yield part


def _restore_risk(access: Access, risk: RiskState | None) -> int:
    """Equities, peak and latch: the limits are measured against them."""
    if risk is None or access.store.get(k.RISK_STATE.at()) is not None:
        return 0
    store = Store(Module.RISK, access.settings, access.vault.redis_password(Module.RISK))
    batch = store.batch()
    batch.put(k.RISK_STATE.at(), risk)
    store.commit(batch)
    store.close()
    return 1
