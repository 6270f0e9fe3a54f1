"""What becomes of one delivery to one recipient: the ledger's states and the rules between them.

A line is `sending` before the first byte leaves. Then:

    sent, late        the vendor has it (`late`: as a notice that says so)
    failed            it surely was not sent; tried again from `retry_machine_ns`, or given up where that is None
    unknown           nobody can tell whether it was sent (the answer was lost, the worker died): never sent again, shown

invariants.md I18, I19.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from msgspec.structs import replace

from alphatrader.contract.messages.distribution import Delivery, DeliveryRecord

SECOND: Final = 1_000_000_000
STALE_CLAIM_NS: Final = 60 * SECOND
"""Machine time; far over the longest vendor time-out, so whoever claimed it is dead."""
GIVEN_UP_NS: Final = 24 * 3600 * SECOND
"""Market time past due after which a vendor that could never be reached is no longer waited for."""
_BACKOFF_FIRST_S: Final = 5.0
_BACKOFF_MOST_S: Final = 300.0

Step = Literal["claim", "retry", "wait", "stale", "ended"]
Kind = Literal["sent", "limited", "unreachable", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one try ended."""

    kind: Kind
    vendor_id: str | None = None
    reason: str | None = None
    """Without addresses: webhook addresses and bot addresses hold secrets."""
    wait_seconds: float | None = None
    """What the vendor asks to wait."""


def step(record: DeliveryRecord | None, machine_ns: int) -> Step:
    """What to do about this recipient now."""
    if record is None:
        return "claim"
    if record.state == "sending":
        return "stale" if machine_ns - record.machine_ns > STALE_CLAIM_NS else "wait"
    if record.state == "failed" and record.retry_machine_ns is not None:
        return "retry" if machine_ns >= record.retry_machine_ns else "wait"
    return "ended"


def claim(delivery: Delivery, recipient: str, now_ns: int, machine_ns: int, before: DeliveryRecord | None) -> DeliveryRecord:
    """The line that is written before the first byte leaves."""
    return DeliveryRecord(
        delivery_id=delivery.id,
        recipient=recipient,
        state="sending",
        attempts=before.attempts if before else 0,
        due_ns=delivery.due_ns,
        ts_ns=now_ns,
        machine_ns=machine_ns,
        vendor_id=None,
        reason=None,
    )


def after(
    record: DeliveryRecord, outcome: Outcome, now_ns: int, machine_ns: int, most_attempts: int, *, late: bool
) -> DeliveryRecord:
    """The line once the try has ended. Only tries that the vendor answered count against `most_attempts`."""
    record = replace(record, ts_ns=now_ns, machine_ns=machine_ns, reason=outcome.reason)
    match outcome.kind:
        case "sent":
            return replace(record, state="late" if late else "sent", attempts=record.attempts + 1, vendor_id=outcome.vendor_id)
        case "unknown":
            return replace(record, state="unknown", attempts=record.attempts + 1)
        case "refused":
            return replace(record, state="failed", attempts=record.attempts + 1, retry_machine_ns=None)
        case "limited":
            attempts = record.attempts + 1
            given_up = attempts >= most_attempts
        case "unreachable":
            attempts = record.attempts
            given_up = now_ns - record.due_ns > GIVEN_UP_NS
    wait = max(backoff_seconds(attempts), outcome.wait_seconds or 0.0)
    retry = None if given_up else machine_ns + round(wait * SECOND)
    return replace(record, state="failed", attempts=attempts, retry_machine_ns=retry)


def abandoned(record: DeliveryRecord, now_ns: int, machine_ns: int) -> DeliveryRecord:
    """The line of a claim whose worker is gone."""
    return replace(record, state="unknown", ts_ns=now_ns, machine_ns=machine_ns, reason="its worker died while sending")


def backoff_seconds(attempts: int) -> float:
    """Machine seconds before the next try: 5, 15, 45, ... at most 300."""
    return min(_BACKOFF_MOST_S, _BACKOFF_FIRST_S * 3.0 ** max(0, attempts - 1))
