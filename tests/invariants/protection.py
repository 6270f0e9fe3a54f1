"""Protection at the broker, at every instant (invariants.md I13, I14, I15)."""

from __future__ import annotations

from tests.invariants.evidence import SECOND, Evidence, Line
from tests.invariants.openings import firsts
from tests.invariants.story import Spell, moments
from tests.invariants.verdict import Verdict, judge

PROTECTION_NS = 2 * SECOND
BY_HAND_NS = 5 * SECOND
"""After a trade that was not ours the orders of what it closed are to be removed; until then they may be too many."""


@judge("I13 protected", "covered", "bracket", "stop price")
def protected(evidence: Evidence, verdict: Verdict) -> None:
    """What we hold is covered by working stops, or on its way out, from 2 s after the fill until it is flat; each opening goes
    out as a bracket, its stop where it was approved."""
    spell = Spell(evidence)
    books: dict[int, tuple[int, int]] = {}
    for line, book in moments(evidence):
        for con_id in book.contracts():
            held = book.ours(con_id)
            covered = book.covered(con_id)
            if held:
                verdict.judged["covered"] += 1
            if held > covered:
                books[con_id] = (held, covered)
            spell.see(line, con_id, held > covered)
    for began, con_id, lasted in spell.all():
        if lasted > PROTECTION_NS:
            held, covered = books[con_id]
            words = f"{held} of {con_id} held, {covered} protected, for {lasted / SECOND:.1f} s"
            verdict.holds("covered", False, words, began)
    placed = list(evidence.frames("placeOrder"))
    approved = {approval.intent_id: approval for approval in evidence.approvals}
    for line in firsts(evidence):
        ref, fields = line["fields"].get("orderRef", ""), line["fields"]
        stops = [
            other
            for other in placed
            if other["client"] == line["client"]
            and other["fields"].get("parentId") == fields["orderId"]
            and other["fields"].get("orderType") in ("STP", "TRAIL")
            and other["machine_ns"] >= line["machine_ns"]
        ]
        alone = fields.get("transmit", True) or (not stops and _transmitted(placed, line))
        verdict.holds("bracket", not alone, f"{ref} was sent without its stop", line)
        if stops and ref in approved:
            price, wanted = stops[0]["fields"].get("auxPrice") or 0.0, float(approved[ref].stop_price)
            near = abs(price - wanted) <= max(0.05, wanted * 0.05)
            verdict.holds("stop price", near, f"{ref}: the stop stands at {price}, approved was {wanted}", stops[0])


def _transmitted(placed: list[Line], parent: Line) -> bool:
    """Whether any leg of this bracket let it out."""
    key = parent["fields"]["orderId"]
    return any(o["fields"].get("transmit", True) and o["fields"].get("parentId") == key for o in placed)


@judge("I14 never reversed", "sellable", "short")
def never_reversed(evidence: Evidence, verdict: Verdict) -> None:
    """All selling orders together never sell more than is held (one OCA group reduces itself), and nothing is ever short."""
    by_hand: dict[int, int] = {}
    for line, book in moments(evidence):
        if line["what"] == "fill" and not line["order_ref"]:
            by_hand[line["con_id"]] = line["machine_ns"]
        for con_id in book.contracts():
            held = book.positions.get(con_id, 0)
            excused = line["machine_ns"] - by_hand.get(con_id, -BY_HAND_NS) < BY_HAND_NS
            if held < 0 or con_id in book.positions:
                verdict.holds("short", held >= 0 or con_id in by_hand, f"position {held} of {con_id}", line)
            selling = book.sellable(con_id)
            if selling:
                words = f"{selling} of {con_id} may be sold, {held} are held"
                verdict.holds("sellable", selling <= max(held, 0) or excused, words, line)


@judge("I15 no gap", "in place", "refused")
def no_gap(evidence: Evidence, verdict: Verdict) -> None:
    """A stop is moved in place: none of ours is cancelled while it alone covers what is held. A refused change keeps the old
    stop."""
    cancelled = {(line["client"], line["fields"]["orderId"]): line["machine_ns"] for line in evidence.frames("cancelOrder")}
    frames = list(evidence.frames("placeOrder"))
    first: set[tuple[int, int]] = set()
    changes: list[Line] = []
    for line in frames:
        key = (line["client"], line["fields"]["orderId"])
        if key in first and line["fields"].get("orderType") in ("STP", "TRAIL"):
            changes.append(line)
        first.add(key)
    before: dict[int, Line] = {}
    for line, book in moments(evidence):
        now = {o["perm_id"]: o for o in book.working() if o["type"] in ("STP", "TRAIL") and float(o["active"]) > 0}
        for perm_id, stop in before.items():
            key, con_id = (stop["owner"], stop["order_id"]), stop["con_id"]
            if perm_id in now:
                continue
            bare = book.ours(con_id) > book.covered(con_id)
            asked = key in cancelled and cancelled[key] <= line["machine_ns"]
            verdict.holds("in place", not (bare and asked), f"{stop['order_ref']} was cancelled, {con_id} lay bare", line)
        before = now
    for change in changes:
        _kept(evidence, verdict, change)


def _kept(evidence: Evidence, verdict: Verdict, change: Line) -> None:
    """The order after the change was answered with an error: it must work as before."""
    client, order_id = change["client"], change["fields"]["orderId"]
    window = change["machine_ns"] + 2 * SECOND
    refused = next(
        (
            e
            for e in evidence.frames("error", "out")
            if e["client"] == client
            and e["fields"]["id"] == order_id
            and change["machine_ns"] <= e["machine_ns"] <= window
            and e["fields"]["code"] != 202
        ),
        None,
    )
    if refused is None:
        verdict.judged["in place"] += 1
        return
    cancel = any(
        c["fields"]["orderId"] == order_id and refused["machine_ns"] <= c["machine_ns"] <= window
        for c in evidence.frames("cancelOrder")
    )
    words = f"{change['fields'].get('orderRef')}: its change was refused, and it was cancelled besides"
    verdict.holds("refused", not cancel, words, change)
