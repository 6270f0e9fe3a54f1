"""The limits, one function each, in one table: what is measured, what is used of what is allowed, and whether it holds.

`KNOWN` must hold for the lease, `OPENING` besides for an approval. A breach in `LATCHING` latches the halt for the session.
A limit whose measure is not known does not hold, and says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from alphatrader.contract.messages.signals import Signal
from alphatrader.contract.settings.trading import Risk
from alphatrader.core.risk.alike import alike_usd
from alphatrader.core.risk.picture import Picture


@dataclass(frozen=True, slots=True)
class Reading:
    holds: bool
    words: str
    """Used of allowed, with the values."""
    breached: bool = False
    """Known to be past its bound, as against not known."""


Limit = Callable[[Picture, Risk], Reading]
SignalLimit = Callable[[Picture, Risk, Signal], Reading]


def _usd(amount: Decimal) -> str:
    return f"{amount.quantize(Decimal('0.01'))} USD"


# -- What must be known ------------------------------------------------------------------------------------------------------


def halt(picture: Picture, _limits: Risk) -> Reading:
    stop, halted = picture.state.stop, picture.halt
    if stop is not None:
        return Reading(False, f"stopped by {stop.by}: {stop.reason}")
    if halted is None:
        return Reading(False, "halted: global:halt is missing")
    if halted.halted or halted.flatten:
        return Reading(False, f"halted by {halted.by}: {halted.reason}")
    return Reading(True, f"not halted, epoch {halted.epoch}")


def latch(picture: Picture, _limits: Risk) -> Reading:
    latched = picture.state.latched
    return Reading(latched is None, "none" if latched is None else f"latched until the next session: {latched}")


def account(picture: Picture, limits: Risk) -> Reading:
    known = picture.account
    if known is None:
        return Reading(False, "the account is not known yet")
    if not known.confirmed:
        return Reading(False, "the broker has not confirmed positions and orders")
    return _fresh(picture, known.machine_ns, limits.max_broker_silence_seconds)


def positions(picture: Picture, limits: Risk) -> Reading:
    summary = picture.summary
    if summary is None:
        return Reading(False, "positions are not known yet")
    fresh = _fresh(picture, summary.machine_ns, limits.max_positions_age_seconds)
    if not fresh.holds:
        return fresh
    if not summary.reconciled:
        return Reading(False, f"not reconciled with the broker: {'; '.join(summary.differences) or 'not compared yet'}")
    if summary.shorts:
        return Reading(False, f"short: {'; '.join(summary.shorts)}")
    return Reading(True, "reconciled")


def unknown_orders(picture: Picture, _limits: Risk) -> Reading:
    count = max(len(picture.unknown_orders), picture.account.unknown_orders if picture.account else 0)
    names = f": {', '.join(picture.unknown_orders)}" if picture.unknown_orders else ""
    return Reading(count == 0, f"{count} of 0 allowed{names}")


def _fresh(picture: Picture, machine_ns: int, most_seconds: float) -> Reading:
    age = picture.age_seconds(machine_ns)
    return Reading(-1.0 <= age <= most_seconds, f"{age:.1f} of {most_seconds:g} s old")


# -- What latches -------------------------------------------------------------------------------------------------------------


def daily_loss(picture: Picture, limits: Risk) -> Reading:
    opening, result = picture.state.opening_equity, picture.day_pnl
    if opening is None or result is None:
        missing = "the day's opening equity" if opening is None else "today's P&L"
        return Reading(False, f"{missing} is not known")
    allowed = min(Decimal(str(limits.daily_loss_usd)), Decimal(str(limits.daily_loss_share)) * opening)
    loss = max(Decimal(0), -result)
    return Reading(loss < allowed, f"{_usd(loss)} of {_usd(allowed)}", breached=loss >= allowed)


def consecutive_losses(picture: Picture, limits: Risk) -> Reading:
    losses, allowed = picture.state.consecutive_losses, limits.max_consecutive_losses
    return Reading(losses < allowed, f"{losses} of {allowed}", breached=losses >= allowed)


def drawdown(picture: Picture, limits: Risk) -> Reading:
    peak, equity = picture.state.peak_equity, picture.state.equity
    if peak is None or equity is None:
        return Reading(False, "equity is not known")
    fall = (peak - equity) / peak
    allowed = Decimal(str(limits.max_drawdown_share))
    words = f"{fall:.2%} of {allowed:.0%} from the peak of {_usd(peak)}"
    return Reading(fall < allowed, words, breached=fall >= allowed)


# -- What an opening needs besides ---------------------------------------------------------------------------------------------


def places(picture: Picture, limits: Risk) -> Reading:
    used = len(picture.places)
    return Reading(used < limits.max_positions, f"{used} of {limits.max_positions}")


def session(picture: Picture, _limits: Risk) -> Reading:
    return Reading(picture.session_open, "open" if picture.session_open else "the session is closed")


def window(picture: Picture, _limits: Risk, signal: Signal) -> Reading:
    span = picture.windows.get(signal.strategy)
    if span is None:
        return Reading(False, f"{signal.strategy} is not enabled")
    inside = span[0] <= picture.ts_ns < span[1]
    return Reading(inside, f"{signal.strategy} is {'inside' if inside else 'outside'} its window")


def expiry(picture: Picture, _limits: Risk, signal: Signal) -> Reading:
    left = signal.contract.expiry > picture.today or (signal.contract.expiry == picture.today and picture.ts_ns < picture.flat_ns)
    return Reading(left, f"expires {signal.contract.expiry}, {'in time' if left else 'already to be flat'}")


def contract(_picture: Picture, _limits: Risk, signal: Signal) -> Reading:
    """Places are counted by symbol and premium by multiplier: a contract that says otherwise would pass under both."""
    of, shares = signal.contract.symbol, signal.contract.multiplier
    return Reading(of == signal.symbol and shares >= 1, f"of {of}, {shares} shares, for {signal.symbol}")


def signal_age(picture: Picture, limits: Risk, signal: Signal) -> Reading:
    if picture.ts_ns >= signal.expires_ns:
        return Reading(False, "the signal has expired")
    return _fresh(picture, signal.machine_ns, limits.max_signal_age_seconds)


def symbol_places(picture: Picture, limits: Risk, signal: Signal) -> Reading:
    used = sum(symbol == signal.symbol for symbol in picture.places.values())
    return Reading(used < limits.max_positions_per_symbol, f"{used} of {limits.max_positions_per_symbol} in {signal.symbol}")


def buying_power(picture: Picture, limits: Risk, signal: Signal) -> Reading:
    known = picture.buying_power
    if known is None or not known.value.is_finite():
        return Reading(False, "buying power is not known")
    fresh = _fresh(picture, known.machine_ns, limits.max_account_age_seconds)
    if not fresh.holds:
        return fresh
    needed, free = premium(signal), known.value - picture.pending_usd
    return Reading(needed <= free, f"{_usd(needed)} of {_usd(free)}")


def alike_premium(picture: Picture, limits: Risk, signal: Signal) -> Reading:
    equity = picture.state.equity
    if equity is None:
        return Reading(False, "equity is not known")
    symbol, right = signal.symbol, signal.contract.right
    riding = alike_usd(picture.bets.values(), symbol, right, picture.correlations) + premium(signal)
    allowed = Decimal(str(limits.max_alike_premium_share)) * equity
    bet = f"{symbol} {'calls' if right == 'C' else 'puts'}"
    return Reading(riding <= allowed, f"{_usd(riding)} of {_usd(allowed)} in what wins and loses as {bet} do")


def prices(_picture: Picture, _limits: Risk, signal: Signal) -> Reading:
    sound = 0 < signal.stop < signal.entry and bool(signal.targets) and all(t > signal.entry for t in signal.targets)
    ordered = list(signal.targets) == sorted(signal.targets)
    words = f"stop {signal.stop}, entry {signal.entry}, targets {list(signal.targets)}"
    return Reading(sound and ordered, words)


def premium(signal: Signal) -> Decimal:
    """The most a bought option can lose: what is paid for it."""
    return Decimal(str(signal.entry)) * signal.quantity * signal.contract.multiplier


KNOWN: Final[dict[str, Limit]] = {
    "halt": halt,
    "latch": latch,
    "account": account,
    "positions": positions,
    "unknown orders": unknown_orders,
}
LATCHING: Final[dict[str, Limit]] = {
    "daily loss": daily_loss,
    "consecutive losses": consecutive_losses,
    "drawdown": drawdown,
}
OPENING: Final[dict[str, Limit]] = {"session": session, **LATCHING, "positions and opening orders": places}
FOR_SIGNAL: Final[dict[str, SignalLimit]] = {
    "window": window,
    "contract": contract,
    "expiry": expiry,
    "signal age": signal_age,
    "prices": prices,
    "positions a symbol": symbol_places,
    "buying power": buying_power,
    "alike premium": alike_premium,
}
