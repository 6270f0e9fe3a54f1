"""What the account may hold and how each order ends, at every instant (invariants.md I2, I4, I5, I8)."""

from __future__ import annotations

from collections import Counter

from tests.invariants.evidence import SECOND, Evidence, Line
from tests.invariants.story import WORKING, Spell, moments
from tests.invariants.verdict import Verdict, judge

UNCONFIRMED_NS = 60 * SECOND
FLAT_NS = 60 * SECOND
CANCEL_NS = 2 * SECOND
PROMPT_NS = 2 * SECOND
LOST, RESTORED = 1100, (1101, 1102)


@judge("I2 position limits", "in all", "a symbol")
def position_limits(evidence: Evidence, verdict: Verdict) -> None:
    """Never more positions and opening orders than allowed, in all and of one symbol, waiting entries counted."""
    limits = evidence.settings.risk
    for line, book in moments(evidence):
        places = book.places()
        names = ", ".join(sorted(intent for intent, _ in places))
        verdict.holds("in all", len(places) <= limits.max_positions, f"{len(places)} places: {names}", line)
        for symbol, n in Counter(symbol for _, symbol in places).items():
            verdict.holds("a symbol", n <= limits.max_positions_per_symbol, f"{n} places in {symbol}: {names}", line)


@judge("I4 unknown blocks", "link")
def unknown_blocks(evidence: Evidence, verdict: Verdict) -> None:
    """While the gateway has no link to the broker (1100 until 1101 or 1102) nothing opens: unknown is not empty."""
    ours, lost = evidence.settings.broker.orders_client_id, False
    openings = {id(line) for line in evidence.openings()}
    for line in evidence.wire:
        if line["kind"] == "frame" and line["message"] == "error" and line["dir"] == "out" and line["client"] == ours:
            code = line["fields"]["code"]
            lost = True if code == LOST else False if code in RESTORED else lost
        elif line["kind"] == "connect" and line["client"] == ours:
            lost = False
        elif id(line) in openings:
            verdict.holds("link", not lost, f"{line['fields'].get('orderRef')} was sent while the link was lost", line)


@judge("I5 every order ends", "answered", "limbo", "cancelled")
def every_order_ends(evidence: Evidence, verdict: Verdict) -> None:
    """Each order sent gets the broker's word, no order stays between states, each cancel ends its order: within 60 s, or the
    operator is told of it by name."""
    states: dict[tuple[int, int], list[Line]] = {}
    for line in evidence.truths("order"):
        states.setdefault((line["owner"], line["order_id"]), []).append(line)
    gone = [line for line in evidence.wire if line["kind"] == "disconnect"]
    errors = [line for line in evidence.frames("error", "out") if line["fields"]["id"] > 0]
    for line in evidence.frames("placeOrder"):
        key, until = (line["client"], line["fields"]["orderId"]), line["machine_ns"] + UNCONFIRMED_NS
        if until > evidence.ended_ns and not states.get(key):
            continue
        ref = line["fields"].get("orderRef", "")
        known = any(line["machine_ns"] <= s["machine_ns"] + SECOND and s["machine_ns"] <= until for s in states.get(key, ()))
        refused = any((e["client"], e["fields"]["id"]) == key and line["machine_ns"] <= e["machine_ns"] <= until for e in errors)
        left = any(d["client"] == line["client"] and line["machine_ns"] <= d["machine_ns"] <= until for d in gone)
        told = evidence.alarmed(line["machine_ns"], until, ref)
        verdict.holds("answered", known or refused or left or told, f"{ref} had no answer in 60 s, and nobody was told", line)
    _between_states(evidence, verdict)
    for line in evidence.frames("cancelOrder"):
        until = line["machine_ns"] + UNCONFIRMED_NS
        said = [s for s in states.get((line["client"], line["fields"]["orderId"]), ()) if s["machine_ns"] <= until]
        if said and until <= evidence.ended_ns:
            ref = said[-1]["order_ref"]
            ended = said[-1]["status"] not in (*WORKING, "Inactive")
            known = evidence.alarmed(line["machine_ns"], until, ref)
            verdict.holds(
                "cancelled", ended or known, f"{ref} is {said[-1]['status']} 60 s after its cancel, nobody was told", line
            )


def _between_states(evidence: Evidence, verdict: Verdict) -> None:
    """PendingSubmit, PendingCancel, ApiPending; Inactive of an order that had worked (a refused one is over)."""
    spell, refs, worked = Spell(evidence), {}, set()
    for line in evidence.truths("order"):
        perm_id, status = line["perm_id"], line["status"]
        refs[perm_id] = line["order_ref"]
        between = status in ("PendingSubmit", "PendingCancel", "ApiPending") or (status == "Inactive" and perm_id in worked)
        if status in ("PreSubmitted", "Submitted"):
            worked.add(perm_id)
        spell.see(line, perm_id, between)
        verdict.judged["limbo"] += 1
    for began, perm_id, lasted in spell.all():
        if lasted > UNCONFIRMED_NS:
            told = evidence.alarmed(began["machine_ns"], began["machine_ns"] + UNCONFIRMED_NS, refs[perm_id])
            words = f"{refs[perm_id]} was {began['status']} for {lasted / SECOND:.0f} s, and nobody was told"
            verdict.holds("limbo", told, words, began)


@judge("I8 exits are free", "prompt", "cancelled", "flat")
def exits_are_free(evidence: Evidence, verdict: Verdict) -> None:
    """A closing order reaches the gateway at once after it was written; flattening cancels within 2 s and is flat within 60 s, or
    the operator is told."""
    written: dict[str, int] = {}
    for booking in evidence.journal:
        if booking.order is not None and booking.order.role != "entry" and booking.order.state == "INTENT":
            written.setdefault(booking.order.id, booking.machine_ns)
    seen: set[str] = set()
    for line in evidence.frames("placeOrder"):
        ref = line["fields"].get("orderRef", "")
        if ref in written and ref not in seen:
            seen.add(ref)
            waited = evidence.arrived_ns(line) - written[ref]
            verdict.holds("prompt", waited <= PROMPT_NS, f"{ref} came {waited / 1e6:.0f} ms after it was written", line)
    for began in _flattenings(evidence):
        _flattened(evidence, verdict, began)


def _flattenings(evidence: Evidence) -> list[int]:
    return [halt.machine_ns for halt in evidence.halts if halt.flatten]


def _flattened(evidence: Evidence, verdict: Verdict, began: int) -> None:
    last = None
    for line, book in moments(evidence):
        if line["machine_ns"] <= began:
            last = bool(book.working()), any(book.positions.values())
    if last is None or not any(last):
        return
    cancels = [line for name in ("cancelOrder", "reqGlobalCancel") for line in evidence.frames(name)]
    if last[0] and evidence.ended_ns > began + CANCEL_NS:
        soon = any(began - SECOND <= evidence.arrived_ns(line) <= began + CANCEL_NS for line in cancels)
        verdict.holds("cancelled", soon, f"nothing was cancelled within 2 s of the flattening of machine {began}")
    if evidence.ended_ns > began + FLAT_NS:
        flat = any(
            not book.working() and not any(book.positions.values())
            for line, book in moments(evidence)
            if began < line["machine_ns"] <= began + FLAT_NS
        )
        told = evidence.alarmed(began, began + FLAT_NS, "flatten")
        verdict.holds("flat", flat or told, f"not flat 60 s after the flattening of machine {began}, and nobody was told")
