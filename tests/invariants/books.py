"""What is booked against what the broker did (invariants.md I9, I10, I11)."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from random import Random

from alphatrader.contract.messages.broker import ExecutionNews
from alphatrader.core.orders.fills import FillBook
from tests.invariants.evidence import Evidence, Line
from tests.invariants.story import Book
from tests.invariants.verdict import Verdict, judge

OPEN = ("INTENT", "SENT", "WORKING", "UNKNOWN")
SHUFFLES = 5


def _at_the_end(evidence: Evidence) -> Book:
    book = Book()
    for line in evidence.wire:
        if line["kind"] == "truth":
            book.take(line)
    return book


@judge("I9 equal to the broker", "positions", "open orders")
def equal_to_the_broker(evidence: Evidence, verdict: Verdict) -> None:
    """At rest, what we hold and which of our orders are open is what the broker says."""
    if not evidence.settled:
        return
    book = _at_the_end(evidence)
    ours: dict[int, int] = defaultdict(int)
    for position in evidence.positions:
        if position.quantity and position.contract.con_id is not None:
            ours[position.contract.con_id] += position.quantity
    for con_id in sorted({*ours, *book.positions}):
        held = book.positions.get(con_id, 0)
        verdict.holds(
            "positions", ours.get(con_id, 0) == held, f"{con_id}: we hold {ours.get(con_id, 0)}, the broker says {held}"
        )
    owner = evidence.settings.broker.orders_client_id
    at_broker = {order["order_ref"] for order in book.orders.values() if order["owner"] == owner}
    working = {order["order_ref"] for order in book.working() if order["owner"] == owner}
    for ref in sorted(at_broker | set(evidence.orders)):
        record = evidence.orders.get(ref)
        open_here = record is not None and record.state in OPEN
        words = f"{ref} is {record.state if record else 'unknown'} here, {'open' if ref in working else 'over'} at the broker"
        verdict.holds("open orders", open_here == (ref in working), words)


@judge("I10 executions once", "booked", "as made", "never invented", "any order", "profit")
def executions_once(evidence: Evidence, verdict: Verdict) -> None:
    """Every execution is booked once, as it was made, corrections replacing, in whatever order and how often the broker says it;
    and what trades made is what the cash says."""
    truth = _executions(evidence)
    for key, fill in evidence.fills.items():
        if not verdict.holds("never invented", key in truth, f"{key} was never made by the broker"):
            continue
        said = (fill.con_id, fill.side, Decimal(fill.quantity), fill.price)
        same = truth[key] == said and key == fill.exec_id.rsplit(".", 1)[0] == fill.key
        verdict.holds("as made", same, f"{key} is booked as {said}, the broker made {truth[key]}")
    if evidence.settled:
        for key in truth:
            verdict.holds("booked", key in evidence.fills, f"{key} is not booked")
        _profits(evidence, verdict)
    _shuffled(evidence, verdict, truth)


def _executions(evidence: Evidence) -> dict[str, tuple[int, str, Decimal, Decimal]]:
    """Key -> (contract, side, shares, price), the broker's latest word."""
    found: dict[str, tuple[int, str, Decimal, Decimal]] = {}
    for line in evidence.wire:
        if line["kind"] == "truth" and line["what"] == "fill":
            side = "BUY" if line["side"] in ("BOT", "BUY") else "SELL"
            shares = Decimal(str(int(float(line["shares"]))))
            found[line["exec_id"].rsplit(".", 1)[0]] = (line["con_id"], side, shares, Decimal(str(line["price"])))
        elif line["kind"] == "truth" and line["what"] == "correction":
            key = line["exec_id"].rsplit(".", 1)[0]
            found[key] = (*found[key][:3], Decimal(str(line["price"])))
    return found


def _shuffled(evidence: Evidence, verdict: Verdict, truth: dict[str, tuple[int, str, Decimal, Decimal]]) -> None:
    """The broker's reports, shuffled and doubled, folded by the product's own book."""
    heard = [_news(line) for line in evidence.frames("execDetails", "out")][-2000:]
    if not heard:
        return
    keys = {news.exec_id.rsplit(".", 1)[0] for news in heard}
    for seed in range(SHUFFLES):
        order = [*heard, *heard[: len(heard) // 2]]
        Random(seed).shuffle(order)
        book = FillBook()
        for news in order:
            book.hear(news, None)
        made = {key: (f.con_id, f.side, Decimal(f.quantity), f.price) for key, f in book.by_key.items()}
        wanted = {key: truth[key] for key in keys if key in truth}
        verdict.holds("any order", made == wanted, f"shuffle {seed} of the broker's reports makes another ledger")


def _news(line: Line) -> ExecutionNews:
    fields = line["fields"]
    return ExecutionNews(
        exec_id=fields["execId"],
        order_id=fields["orderId"],
        client_id=fields["clientId"],
        perm_id=fields["permId"],
        order_ref=fields["orderRef"],
        con_id=fields["conId"],
        symbol="",
        contract=None,
        side="BUY" if fields["side"] == "BOT" else "SELL",
        quantity=int(fields["shares"]),
        price=Decimal(str(fields["price"])),
        account="",
        ts_ns=0,
    )


def _profits(evidence: Evidence, verdict: Verdict) -> None:
    """Of each contract that is flat again: the sum of its trades, against fills and commissions."""
    fees: dict[str, Decimal] = {}
    for line in evidence.frames("commissionReport", "out"):
        fees[line["fields"]["execId"].rsplit(".", 1)[0]] = Decimal(str(line["fields"]["commission"]))
    flows: dict[int, Decimal] = defaultdict(Decimal)
    net: dict[int, Decimal] = defaultdict(Decimal)
    unknown = {line["con_id"] for line in evidence.truths("expiry")}
    for key, (con_id, side, shares, price) in _executions(evidence).items():
        sign = -1 if side == "BUY" else 1
        flows[con_id] += sign * shares * price * 100 - fees.get(key, Decimal(0))
        net[con_id] -= sign * shares
        if key not in fees:
            unknown.add(con_id)
    for con_id, flow in flows.items():
        if net[con_id] or con_id in unknown:
            continue
        ours = sum((t.pnl for t in evidence.trades.values() if t.contract.con_id == con_id), Decimal(0))
        verdict.holds("profit", abs(ours - flow) < Decimal("0.02"), f"{con_id}: trades made {ours}, the cash says {flow}")


@judge("I11 nothing is lost", "fills", "views")
def nothing_is_lost(evidence: Evidence, verdict: Verdict) -> None:
    """What was written to the disk before Redis heard of it stands in the ledger; what has a TTL is never the only copy."""
    for booking in evidence.journal:
        if booking.fill is not None and booking.machine_ns >= evidence.since_ns:
            verdict.holds("fills", booking.fill.key in evidence.fills, f"{booking.fill.key} stands in the journal alone")
    for ref in evidence.views:
        verdict.holds("views", ref in evidence.orders, f"{ref} stands in a view with a TTL alone")
