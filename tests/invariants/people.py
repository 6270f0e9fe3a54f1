"""Invariants of what subscribers were told, judged on the vendors' own stamps (invariants.md I18, I19)."""

from __future__ import annotations

from collections import Counter

from alphatrader.contract.settings.secrets import SECRETS
from tests.invariants.evidence import SECOND, Evidence, Line
from tests.invariants.verdict import Verdict, judge

DELAY = {"premium": 0, "basic": 60 * SECOND, "free": 300 * SECOND}
"""Tier -> market time between a signal and the first byte about it."""
OPERATOR = {"operator"} | {secret.sandbox_form for secret in SECRETS if secret.name == "telegram_operator_chat"}
"""Where the sandbox's operator hears alarms: Discord's channel and Telegram's chat."""
TOLD_NS = 90 * SECOND
"""Machine time past due after which a signal that nobody was told of is missing."""


def tier_of(evidence: Evidence, post: Line) -> str | None:
    """The tier of the channel that was told; X is read by everybody. None: a person's own chat, or the operator's."""
    vendors, channel = evidence.settings.vendors, str(post["told"]["channel"])
    if post["vendor"] == "x":
        return "free"
    chats = {
        vendors.telegram_premium_channel: "premium",
        vendors.telegram_basic_channel: "basic",
        vendors.telegram_public_channel: "free",
    }
    known = chats.get(channel) if channel else None
    return known or (channel if post["vendor"] == "discord" and channel in DELAY else None)


def _posts(evidence: Evidence) -> list[Line]:
    return [
        line
        for line in evidence.vendors
        if line["vendor"] in ("discord", "telegram", "x") and line.get("told") and line["accepted"]
    ]


@judge("I18 never early", "signal", "position")
def never_early(evidence: Evidence, verdict: Verdict) -> None:
    """Nothing of a signal or of its position reaches a delayed channel before its time, by the vendor's stamp in market time."""
    made = {event.signal.id: event.signal.ts_ns for event in evidence.signals if event.kind == "new"}
    bought: dict[str, int] = {}
    for line in evidence.truths("fill"):
        if line["side"] in ("BOT", "BUY"):
            bought.setdefault(line["order_ref"], line["market_ns"])
    for post in _posts(evidence):
        tier, text = tier_of(evidence, post), _text(post)
        if tier is None:
            continue
        for signal_id, ts_ns in made.items():
            if not _about(text, signal_id):
                continue
            early = (ts_ns + DELAY[tier] - post["received_market_ns"]) / SECOND
            verdict.holds("signal", early <= 0, f"{signal_id} was told on {post['vendor']} {tier} {early:.3f} s early")
            if "position opened" in text and signal_id in bought:
                early = (bought[signal_id] + DELAY[tier] - post["received_market_ns"]) / SECOND
                words = f"the position of {signal_id} was told on {post['vendor']} {tier} {early:.3f} s early"
                verdict.holds("position", early <= 0, words)


@judge("I19 told once", "once", "told", "in the ledger")
def told_once(evidence: Evidence, verdict: Verdict) -> None:
    """Each message at most once a recipient; each approved signal reaches premium and basic, or the ledger says why not; each
    post stands in the ledger."""
    about = [post for post in _posts(evidence) if _about_signal(evidence, post)]
    counts = Counter((post["vendor"], str(post["told"]["channel"]), _text(post)) for post in about)
    for (vendor, channel, text), n in counts.items():
        verdict.holds("once", n == 1, f"{n} times on {vendor} {channel}: {text[:80]}")
    approved = {approval.signal_id for approval in evidence.approvals if approval.approved}
    signals = {event.signal.id: event.signal for event in evidence.signals if event.kind == "new"}
    for signal_id in sorted(approved & set(signals)):
        for tier in ("premium", "basic"):
            due = signals[signal_id].machine_ns + DELAY[tier]  # at speed 1; a faster clock is due sooner
            if evidence.ended_ns < due + TOLD_NS:
                continue
            posted = any(tier_of(evidence, p) == tier and _about(_text(p), signal_id) for p in about)
            noted = any(name.startswith(f"{signal_id}:{tier}|") for name in evidence.deliveries)
            verdict.holds("told", posted or noted, f"{signal_id} was never told to {tier}")
    if evidence.deliveries and evidence.settled:
        known = {(name.split(":")[0], name.split("|")[1]) for name in evidence.deliveries if "|" in name}
        for post in about:
            if post["vendor"] in ("discord", "telegram"):
                recipient = f"{post['vendor']}:{post['told']['channel']}"
                ref = next(e.signal.id for e in evidence.signals if _about(_text(post), e.signal.id))
                words = f"a post about {ref} to {recipient} stands in no ledger"
                verdict.holds("in the ledger", (ref, recipient) in known, words)


@judge("disclaimer", "disclaimer")
def disclaimed(evidence: Evidence, verdict: Verdict) -> None:
    """Every message to subscribers says that it is no advice."""
    for post in _posts(evidence):
        if tier_of(evidence, post) is not None or _about_signal(evidence, post):
            words = f"{post['vendor']} {post['told']['channel']}: none in {_text(post)[:80]!r}"
            verdict.holds("disclaimer", "not investment advice" in _text(post).lower(), words)


def _about(text: str, signal_id: str) -> bool:
    """The id as a word of its own: `...-1` is not in `...-12`."""
    at = text.find(signal_id)
    while at >= 0:
        following = text[at + len(signal_id) : at + len(signal_id) + 1]
        if not following.isdigit():
            return True
        at = text.find(signal_id, at + 1)
    return False


def _about_signal(evidence: Evidence, post: Line) -> bool:
    """Whether it is a word of a signal. An alarm to the operator is none, though it may name an order by its signal's id."""
    if _alarm(post):
        return False
    return any(_about(_text(post), event.signal.id) for event in evidence.signals)


def _alarm(post: Line) -> bool:
    lines = str(post["told"].get("text") or "").splitlines()
    return str(post["told"]["channel"]) in OPERATOR and any(line.startswith(("ALARM ", "STILL ", "OVER ")) for line in lines)


def _text(post: Line) -> str:
    return f"{post['told'].get('title') or ''} {post['told'].get('text') or ''}"
