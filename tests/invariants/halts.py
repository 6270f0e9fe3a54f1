"""The halt, the lease and the limits that latch it (invariants.md I16, I17)."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from alphatrader.runtime.calendar import nyse
from tests.invariants.evidence import SECOND, Evidence, Line, intent_of, read_text_lines
from tests.invariants.story import moments
from tests.invariants.verdict import Verdict, judge

HALT_NS = SECOND // 2
SEEN_NS = SECOND // 10
WORKING_NS = 2 * SECOND
LEASE_NS = 3 * SECOND
RESUME_NS = 60 * SECOND
LATCH_NS = 2 * SECOND
"""From the fill that closes a losing trade until risk must refuse: fill, position, verdict, and an approval's own second."""


def halted_spans(evidence: Evidence) -> list[tuple[int, int]]:
    """(from, until) on machine time: from the first request or record of a halt to the record that lifted it."""
    found: list[tuple[int, bool]] = [(c.machine_ns, True) for c in evidence.controls if c.kind in ("halt", "flatten")]
    found += [(h.machine_ns, h.halted) for h in evidence.halts]
    spans: list[tuple[int, int]] = []
    began: int | None = None
    for moment, halted in sorted(found):
        if halted and began is None:
            began = moment
        elif not halted and began is not None:
            spans.append((began, moment))
            began = None
    return [*spans, (began, 2**63)] if began is not None else spans


@judge("I16 halt obeyed", "opening", "once seen", "working", "lease", "by a person")
def halt_obeyed(evidence: Evidence, verdict: Verdict) -> None:
    """No opening frame 500 ms after a halt, or 100 ms after the sender saw it; no entry works 2 s after it; none without a live
    lease; and only a person lifts it."""
    openings = evidence.openings()
    for began, until in halted_spans(evidence):
        for line in openings:
            arrived = evidence.arrived_ns(line)
            late = began + HALT_NS < arrived < until
            words = f"{line['fields'].get('orderRef')} came {(arrived - began) / 1e6:.0f} ms after a halt"
            verdict.holds("opening", not late, words, line)
        _entries_end(evidence, verdict, began, until)
    for seen in _halts_seen(evidence):
        lifted = min((h.machine_ns for h in evidence.halts if not h.halted and h.machine_ns > seen), default=2**63)
        for line in openings:
            late = seen + SEEN_NS < evidence.arrived_ns(line) < lifted
            words = f"{line['fields'].get('orderRef')} came later than 100 ms after execution had seen a halt"
            verdict.holds("once seen", not late, words, line)
    _leased(evidence, verdict, openings)
    _lifted_by_people(evidence, verdict)


def _entries_end(evidence: Evidence, verdict: Verdict, began: int, until: int) -> None:
    """At every instant from 2 s after the halt on: what the book held then, and each change of it until the halt is lifted."""
    standing: list[Line] = []
    for line, book in moments(evidence):
        if line["machine_ns"] >= until:
            break
        if line["machine_ns"] <= began + WORKING_NS:
            standing = book.entries()
            continue
        verdict.holds("working", not book.entries(), f"{[o['order_ref'] for o in book.entries()]} work 2 s after a halt", line)
    if evidence.ended_ns > began + WORKING_NS:
        verdict.holds("working", not standing, f"{[o['order_ref'] for o in standing]} worked 2 s after a halt")


def _halts_seen(evidence: Evidence) -> list[int]:
    """Machine instants at which execution's own log says that it obeys a request."""
    found = []
    for name, text in evidence.logs.items():
        if name.startswith("execution"):
            for line in read_text_lines(text):
                if line.get("event") == "halt_obeyed":
                    at = datetime.fromisoformat(str(line["utc"]).replace("Z", "+00:00"))
                    found.append(int(at.timestamp() * SECOND))
    return found


def _leased(evidence: Evidence, verdict: Verdict, openings: list[Line]) -> None:
    if not evidence.leases:
        return
    for line in openings:
        arrived = evidence.arrived_ns(line)
        if arrived < evidence.leases[0].machine_ns:
            continue  # the server has rewritten its log since
        before = [lease for lease in evidence.leases if lease.machine_ns <= line["machine_ns"]]
        live = bool(before) and before[-1].granted and arrived - before[-1].machine_ns <= LEASE_NS
        verdict.holds("lease", live, f"{line['fields'].get('orderRef')} was sent without a live lease", line)


def _lifted_by_people(evidence: Evidence, verdict: Verdict) -> None:
    """A halt is lifted by a request to resume that is younger than the halt, or by a person at emergency's own door."""
    asked = [c for c in evidence.controls if c.kind == "resume"]
    halted = None
    for halt in sorted(evidence.halts, key=lambda h: h.epoch):
        if halted is not None and not halt.halted:
            answers = any(c.by == halt.by and 0 <= halt.machine_ns - c.machine_ns <= RESUME_NS for c in asked)
            door = "command line" in halt.by
            verdict.holds("by a person", answers or door, f"epoch {halt.epoch} was lifted by {halt.by!r}: {halt.reason}")
        halted = halt if halt.halted else None


@judge("I17 limits latch", "losses", "daily loss", "drawdown", "recorded")
def limits_latch(evidence: Evidence, verdict: Verdict) -> None:
    """After three losing trades in a row, the day's loss or the drawdown, all by the broker's own account, nothing opens until
    the next session; and the halt is recorded."""
    limits = evidence.settings.risk
    day: dict[str, Any] = {}
    peak = None
    for closing in _closings(evidence):
        session = nyse().at(closing["line"]["market_ns"])
        name = session.name if session else "none"
        if day.get("session") != name:
            opening = closing["cash_before"]
            day = {"session": name, "losses": 0, "opening": opening}
        pnl = closing["pnl"]
        day["losses"] = day["losses"] + 1 if pnl < 0 else 0 if pnl > 0 else day["losses"]
        breached = {"losses": day["losses"] >= limits.max_consecutive_losses}
        if closing["flat"]:
            cash = closing["cash"]
            peak = max(peak or day["opening"], day["opening"], cash)
            allowed = min(limits.daily_loss_usd, limits.daily_loss_share * day["opening"])
            breached["daily loss"] = day["opening"] - cash >= allowed
            breached["drawdown"] = (peak - cash) / peak >= limits.max_drawdown_share
        for clause, breach in breached.items():
            verdict.judged[clause] += 1
            if breach:
                _nothing_more(evidence, verdict, clause, closing["line"], session.close_ns if session else 0)


def _nothing_more(evidence: Evidence, verdict: Verdict, clause: str, line: Line, close_ns: int) -> None:
    since = line["machine_ns"] + LATCH_NS
    for opening in evidence.openings():
        more = evidence.arrived_ns(opening) > since and opening["market_ns"] < close_ns
        verdict.holds(clause, not more, f"{opening['fields'].get('orderRef')} was sent after the limit was reached", opening)
    if evidence.ended_ns > since:
        halted = any(began <= since and until > line["machine_ns"] for began, until in halted_spans(evidence))
        verdict.holds("recorded", halted, f"no halt within 2 s of reaching the limit of {clause}", line)


def _closings(evidence: Evidence) -> list[dict[str, Any]]:
    """Round trips of ours by the broker's fills and commissions: what each made, and the cash when nothing is held any more."""
    fees: dict[str, float] = {}
    for line in evidence.frames("commissionReport", "out"):
        fees[line["fields"]["execId"]] = float(line["fields"]["commission"])
    made: dict[tuple[int, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    held: dict[int, int] = defaultdict(int)
    cash = next((float(line["equity"]) for line in evidence.wire if line["kind"] == "start"), None)
    flat_cash = cash
    found = []
    for line in evidence.truths("fill"):
        con_id, shares, bought = line["con_id"], float(line["shares"]), line["side"] in ("BOT", "BUY")
        intent = intent_of(line["order_ref"])
        owners = [key for key in made if key[0] == con_id and made[key][1] > 0]
        key = (con_id, intent) if bought or (con_id, intent) in owners or not owners else owners[0]
        flow = (-1 if bought else 1) * shares * float(line["price"]) * 100 - fees.get(line["exec_id"], 0.0)
        made[key][0] += flow
        made[key][1] += shares if bought else -shares
        held[con_id] = int(float(line["position"]))
        cash, flat = float(line["cash"]) if line.get("cash") else cash, not any(held.values())
        if not bought and made[key][1] == 0 and intent and cash is not None and flat_cash is not None:
            pnl = made.pop(key)[0]
            found.append({"line": line, "pnl": pnl, "cash": cash, "cash_before": flat_cash, "flat": flat})
        flat_cash = cash if flat else flat_cash
    return found
