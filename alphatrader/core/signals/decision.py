"""From what is known of one symbol to a proposal, or to the gates that stopped it. Every gate is told, passed or not.

Pure: the situation carries the time, the quote, the account. Called by `streams/signals.py` for each strategy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from alphatrader.contract.messages.contracts import ContractQuote, OptionRef
from alphatrader.contract.messages.options import Chain
from alphatrader.contract.messages.signals import Gate
from alphatrader.contract.settings.trading import Signals, Window
from alphatrader.core.signals.levels import Levels, levels
from alphatrader.core.signals.score import Calibration, Direction, Score, score
from alphatrader.core.signals.selection import Candidate
from alphatrader.core.signals.sizing import Size, cautious_win_rate, size
from alphatrader.core.strategies.inputs import Features, Inputs
from alphatrader.core.strategies.windows import StrategyRule

_SECOND = 1_000_000_000


@dataclass(frozen=True)
class Limits:
    """What the settings and the trades so far say about every signal."""

    signals: Signals
    min_chain_quality: float
    max_account_age_seconds: float
    calibration: Calibration | None = None
    wins: int = 0
    losses: int = 0


@dataclass(frozen=True)
class Situation:
    """One symbol and strategy at one instant."""

    inputs: Inputs
    machine_ns: int
    clock: str
    """HH:MM:SS in New York."""
    window_ns: tuple[int, int] | None
    """None: no session today."""
    session_open: bool
    spot: float | None
    chain: Chain | None
    expiry: str | None
    candidates: Mapping[Direction, Candidate]
    con_id: Callable[[OptionRef], int | None]
    quote: Callable[[int], ContractQuote | None]
    last_signal_ns: int | None
    alive: str | None
    """The id of a signal of this symbol and strategy that is still pending or active."""
    equity: float | None
    equity_age_seconds: float | None


@dataclass(frozen=True)
class Proposal:
    direction: Direction
    contract: OptionRef
    score: Score
    features: Features
    reasons: tuple[str, ...]
    levels: Levels
    size: Size
    bid: float
    ask: float
    spot: float


@dataclass(frozen=True)
class Decision:
    gates: tuple[Gate, ...]
    score: Score
    proposal: Proposal | None


def decide(rule: StrategyRule, window: Window, situation: Situation, limits: Limits) -> Decision:
    settings, inputs = limits.signals, situation.inputs
    features = rule.features(inputs)
    scored = score(features, window.weights, settings.score_slope, settings.uncalibrated_cap, limits.calibration)
    gates = [
        *_time_gates(window, situation),
        _halt(situation),
        _chain(situation, limits.min_chain_quality),
        _metrics(rule, inputs),
        _score(scored, features, window),
        *_spacing(window, situation, settings),
    ]
    pricing, priced = _price(situation, scored, limits)
    gates += pricing
    proposal = None
    if all(gate.passed for gate in gates) and priced is not None and scored.direction is not None:
        contract, quote, at, sized = priced
        proposal = Proposal(
            direction=scored.direction,
            contract=contract,
            score=scored,
            features=features,
            reasons=rule.reasons(inputs, features, scored.direction == "long_call"),
            levels=at,
            size=sized,
            bid=quote.bid or 0.0,
            ask=at.entry,
            spot=situation.spot or 0.0,
        )
    return Decision(tuple(gates), scored, proposal)


def _time_gates(window: Window, situation: Situation) -> list[Gate]:
    now, bounds = situation.inputs.now_ns, situation.window_ns
    inside = bounds is not None and bounds[0] <= now < bounds[1]
    return [
        Gate("session", situation.session_open, "open" if situation.session_open else "closed", "open"),
        Gate("window", inside, situation.clock, f"{window.opens} to {window.closes} New York, moved by an early close"),
    ]


def _halt(situation: Situation) -> Gate:
    status = situation.inputs.status
    halted = status.halted if status is not None else None
    value = {None: "unknown", True: "halted", False: "trading"}[halted]
    if status is not None and status.halted_by == "estimate":
        value = f"halted: {status.halt_reason}"
    return Gate("halt", halted is False, value, "trading")


def _chain(situation: Situation, least: float) -> Gate:
    chain = situation.chain
    needed = f"fresh, quality at least {least:.2f}, the expiry listed"
    if chain is None:
        return Gate("chain", False, "none", needed)
    value = f"quality {chain.quality:.2f}{', stale' if chain.stale else ''}, expiry {situation.expiry or 'not listed'}"
    return Gate("chain", not chain.stale and chain.quality >= least and situation.expiry is not None, value, needed)


def _metrics(rule: StrategyRule, inputs: Inputs) -> Gate:
    missing = [name for name in rule.needs if name not in inputs.metrics]
    value = f"not ready or stale: {', '.join(missing)}" if missing else "ready"
    return Gate("metrics", not missing, value, f"ready and fresh: {', '.join(rule.needs)}")


def _score(scored: Score, features: Features, window: Window) -> Gate:
    parts = ", ".join(f"{name} {'missing' if value is None else f'{value:+.2f}'}" for name, value in features.items())
    passed = scored.direction is not None and scored.confidence >= window.min_confidence
    return Gate("score", passed, f"{scored.confidence:.1f} ({parts})", f"at least {window.min_confidence:.0f}")


def _spacing(window: Window, situation: Situation, settings: Signals) -> list[Gate]:
    pause = settings.cooldown_seconds if window.cooldown_seconds is None else window.cooldown_seconds
    last = situation.last_signal_ns
    since = None if last is None else (situation.inputs.now_ns - last) / _SECOND
    return [
        Gate("cooldown", since is None or since >= pause, "never" if since is None else f"{since:.0f} s", f"{pause:.0f} s"),
        Gate("one at a time", situation.alive is None, situation.alive or "none alive", "none alive"),
    ]


_Priced = tuple[OptionRef, ContractQuote, Levels, Size]


def _price(situation: Situation, scored: Score, limits: Limits) -> tuple[list[Gate], _Priced | None]:
    """Contract, quote, levels, size: each needs the one before it, so the list ends at the first that fails."""
    settings = limits.signals
    delta_range = f"|delta| {settings.min_delta:.2f} to {settings.max_delta:.2f}, tradable"
    if scored.direction is None:
        return [Gate("contract", False, "no direction to choose for", delta_range)], None
    candidate = situation.candidates.get(scored.direction)
    if candidate is None:
        return [Gate("contract", False, "none in the chain", delta_range)], None
    found = f"{candidate.contract.occ} delta {candidate.delta:+.2f}"
    gates = [Gate("contract", True, found, delta_range)]

    con_id = situation.con_id(candidate.contract)
    quote = situation.quote(con_id) if con_id is not None else None
    quote_gate = _quote(con_id, quote, situation, settings)
    gates.append(quote_gate)
    if not quote_gate.passed or con_id is None or quote is None or quote.bid is None or quote.ask is None:
        return gates, None

    atr = situation.inputs.part("regime", "atr_1m")
    at = None
    if atr is not None and atr > 0 and situation.spot is not None:
        at = levels(
            bid=quote.bid,
            ask=quote.ask,
            symbol=quote.symbol,
            finest=quote.min_tick if quote.min_tick > 0 else 0.01,
            delta=candidate.delta,
            atr=atr,
            stop_atr=settings.stop_atr,
            target_atr=settings.target_atr,
        )
    value = "no ATR or spot" if atr is None or situation.spot is None else f"ATR {atr:.3f}, ask {quote.ask:.2f}"
    gates.append(Gate("stop", at is not None, value, "a stop above zero and under the bid"))
    if at is None:
        return gates, None

    contract = OptionRef(
        symbol=candidate.contract.symbol,
        expiry=candidate.contract.expiry,
        strike=candidate.contract.strike,
        right=candidate.contract.right,
        con_id=con_id,
        multiplier=candidate.contract.multiplier,
    )
    age = situation.equity_age_seconds
    if situation.equity is None or age is None or age > limits.max_account_age_seconds:
        shown = "unknown" if situation.equity is None or age is None else f"{age:.0f} s old"
        gates.append(Gate("size", False, f"equity {shown}", f"equity at most {limits.max_account_age_seconds:.0f} s old"))
        return gates, None
    sized = size(
        equity=situation.equity,
        ask=quote.ask,
        stop=at.stop,
        targets=at.targets,
        win_rate=cautious_win_rate(
            settings.prior_wins + limits.wins, settings.prior_losses + limits.losses, settings.win_quantile
        ),
        kelly_share=settings.kelly_share,
        premium_cap_share=settings.premium_cap_share,
        multiplier=contract.multiplier,
    )
    shown = f"{sized.contracts} (Kelly {sized.kelly:+.3f} at win rate {sized.win_rate:.3f}, {sized.share:.2%} of equity)"
    gates.append(Gate("size", sized.contracts >= 1, shown, "at least 1 contract"))
    return gates, (contract, quote, at, sized)


def _quote(con_id: int | None, quote: ContractQuote | None, situation: Situation, settings: Signals) -> Gate:
    needed = (
        f"the broker's, at most {settings.max_quote_age_seconds:.0f} s old, spread at most {settings.max_spread_share:.0%} "
        f"or ${settings.max_spread_usd:.2f}"
    )
    if con_id is None:
        return Gate("quote", False, "the broker has not named the contract yet", needed)
    if quote is None:
        return Gate("quote", False, f"none for contract {con_id}", needed)
    age = (situation.machine_ns - quote.machine_ns) / _SECOND
    if quote.bid is None or quote.ask is None or not 0 < quote.bid < quote.ask:
        return Gate("quote", False, f"bid {quote.bid}, ask {quote.ask}", needed)
    spread, mid = quote.ask - quote.bid, (quote.bid + quote.ask) / 2
    narrow = spread <= settings.max_spread_usd + 1e-9 or spread <= settings.max_spread_share * mid
    value = f"{quote.bid:.2f} to {quote.ask:.2f}, {age:.1f} s old"
    return Gate("quote", narrow and age <= settings.max_quote_age_seconds, value, needed)
