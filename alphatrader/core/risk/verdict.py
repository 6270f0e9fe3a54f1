"""The verdict on a signal, the state of the lease, the latch: the table of limits applied to a picture."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import msgspec

from alphatrader.contract.messages.risk import Approval, Reservation
from alphatrader.contract.messages.signals import Signal
from alphatrader.contract.settings.trading import Risk
from alphatrader.core.risk.limits import FOR_SIGNAL, KNOWN, LATCHING, OPENING, Reading, premium
from alphatrader.core.risk.picture import Picture

_SAFE_REF: Final = re.compile(r"[A-Za-z0-9._@+-]{1,36}\Z")
_CENT: Final = Decimal("0.01")


def intent_id(signal_id: str) -> str:
    """The intent of a signal, and its orderRef: the signal's id where the broker's field takes it, else a digest of it."""
    if _SAFE_REF.match(signal_id) and not signal_id.startswith(("ext-", "flatten-")):
        return signal_id
    return f"sig-{hashlib.sha256(signal_id.encode()).hexdigest()[:24]}"


def limits_version(limits: Risk) -> str:
    """Names the limits an approval was given under."""
    return hashlib.sha256(msgspec.json.encode(limits)).hexdigest()[:12]


def without_lease(picture: Picture, limits: Risk) -> str | None:
    """Why nothing may be opened at all; None where all that must be known is known and holds."""
    return next((f"{name}: {reading.words}" for name, reading in _general(picture, limits) if not reading.holds), None)


def breach(picture: Picture, limits: Risk) -> str | None:
    """The limit that latches now, with its values."""
    for name, limit in LATCHING.items():
        reading = limit(picture, limits)
        if reading.breached:
            return f"{name}: {reading.words}"
    return None


def by_marks(breach: str) -> bool:
    """Whether a breach comes of what quotes say now, and not of closed trades alone."""
    return not breach.startswith("consecutive losses:")


def in_words(picture: Picture, limits: Risk) -> dict[str, str]:
    """Each limit that needs no signal: used of allowed, for the dashboard."""
    table = {**KNOWN, **OPENING}
    return {name: limit(picture, limits).words for name, limit in table.items()}


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an approval carries of its maker."""

    fence: int
    limits_version: str


def decide(picture: Picture, limits: Risk, signal: Signal, stamp: Stamp) -> Approval:
    """Approved or refused, with the first rule that refuses and its values, or with what is used of each limit."""
    refusal = without_lease(picture, limits) or _refusal(picture, limits, signal)
    return Approval(
        intent_id=intent_id(signal.id),
        signal_id=signal.id,
        approved=refusal is None,
        reason=refusal or "; ".join(f"{name} {reading.words}" for name, reading in _opening(picture, limits, signal)),
        strategy=signal.strategy,
        symbol=signal.symbol,
        contract=signal.contract,
        quantity=signal.quantity,
        limit_price=_money(signal.entry),
        stop_price=_money(signal.stop),
        target_price=_money(signal.targets[-1]) if signal.targets else _money(signal.entry),
        machine_ns=picture.machine_ns,
        ts_ns=picture.ts_ns,
        halt_epoch=picture.halt.epoch if picture.halt else -1,
        limits_version=stamp.limits_version,
        fence=stamp.fence,
        confidence=signal.confidence,
        targets=tuple(_money(target) for target in signal.targets),
    )


def reserved(approval: Approval, signal: Signal) -> Reservation:
    return Reservation(approval.intent_id, approval.symbol, approval.machine_ns, premium(signal), approval.contract.right)


def _money(price: float) -> Decimal:
    return Decimal(str(price)).quantize(_CENT, ROUND_HALF_UP)


def _general(picture: Picture, limits: Risk) -> Iterator[tuple[str, Reading]]:
    return ((name, limit(picture, limits)) for name, limit in KNOWN.items())


def _opening(picture: Picture, limits: Risk, signal: Signal) -> Iterator[tuple[str, Reading]]:
    yield from ((name, limit(picture, limits)) for name, limit in OPENING.items())
    yield from ((name, limit(picture, limits, signal)) for name, limit in FOR_SIGNAL.items())


def _refusal(picture: Picture, limits: Risk, signal: Signal) -> str | None:
    readings = _opening(picture, limits, signal)
    return next((f"{name}: {reading.words}" for name, reading in readings if not reading.holds), None)
