"""Permission to open: the lease, the halt and the approval, judged together as the bytes leave (invariants.md I1, I16).

Anything missing, old, of another epoch or of an older fence refuses, and so does market time: an opening order is sent, and
works, only inside its strategy's window, not in the session's last moments and not around the gateway's own restart
(invariants.md I7). Exits, cancels and flattening ask nothing of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alphatrader.contract.messages.risk import Approval, Halt, Lease

LEASE_SECONDS = 3.0


def lapsed(lease: Lease | None, halt: Halt | None, machine_ns: int) -> str | None:
    """Why nothing may be open at all; None while there is permission."""
    if halt is None:
        return "global:halt cannot be read"
    if halt.halted or halt.flatten:
        return f"halted: {halt.reason}"
    if lease is None:
        return "there is no lease"
    if not lease.granted:
        return f"the lease is not granted: {lease.reason}"
    age = (machine_ns - lease.machine_ns) / 1e9
    if not -1.0 <= age <= LEASE_SECONDS:
        return f"the lease is {age:.1f} s old"
    if lease.halt_epoch != halt.epoch:
        return f"the lease is of halt epoch {lease.halt_epoch}, the halt of {halt.epoch}"
    return None


def refusal(
    approval: Approval, lease: Lease | None, halt: Halt | None, machine_ns: int, approval_seconds: float, newest_fence: int
) -> str | None:
    """Why this approval may not be acted on now; None when it may."""
    if not approval.approved:
        return f"not approved: {approval.reason}"
    reason = lapsed(lease, halt, machine_ns)
    if reason is not None or lease is None or halt is None:
        return reason
    age = (machine_ns - approval.machine_ns) / 1e9
    if not -0.1 <= age <= approval_seconds:
        return f"the approval is {age:.2f} s old, {approval_seconds:g} s are allowed"
    if approval.halt_epoch != halt.epoch:
        return f"the approval is of halt epoch {approval.halt_epoch}, the halt of {halt.epoch}"
    if approval.fence != lease.fence or approval.fence < newest_fence:
        return f"the approval has fence {approval.fence}, the lease {lease.fence}, the newest is {newest_fence}"
    return None


@dataclass(frozen=True, slots=True)
class Hours:
    """What market time allows in one session; half-open spans."""

    closes_ns: int
    """Of the session."""
    windows: Mapping[str, tuple[int, int]]
    """Strategy -> its window, for those that are enabled."""
    last_seconds: float
    """Nothing opens in so many last seconds of the session."""
    restart: tuple[int, int] | None = None
    """Around the gateway's own restart, where it falls on this day."""


def untimely(strategy: str, ts_ns: int, hours: Hours | None) -> str | None:
    """Why no opening order of this strategy may be sent or work now; None while one may. `hours` None: no session is open."""
    if hours is None:
        return "the session is closed"
    left = (hours.closes_ns - ts_ns) / 1e9
    if left <= hours.last_seconds:
        return f"the session closes in {left:.0f} s, nothing opens in its last {hours.last_seconds:g} s"
    if hours.restart is not None and hours.restart[0] <= ts_ns < hours.restart[1]:
        return "the gateway restarts itself about now"
    window = hours.windows.get(strategy)
    if window is None:
        return f"{strategy or 'its strategy'} is not enabled"
    if not window[0] <= ts_ns < window[1]:
        return f"{strategy} is outside its window"
    return None
