"""One situation in which everything allows a signal, and what each gate says where one thing is otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as renewed

from alphatrader.contract.messages.contracts import ContractQuote, OptionRef
from alphatrader.contract.messages.market import Status
from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.messages.options import Chain
from alphatrader.core.signals.decision import Decision, Limits, Situation, decide
from alphatrader.core.signals.selection import Candidate
from alphatrader.core.strategies.inputs import Inputs
from alphatrader.core.strategies.windows import StrategyRule
from alphatrader.runtime.settings import load

SECOND = 1_000_000_000
NOW = 1_000 * SECOND
NAMED = 77
CALL = OptionRef("SPY", "20261218", 600.0, "C")
PUT = OptionRef("SPY", "20261218", 600.0, "P")
SETTINGS = load({})
WINDOW = renewed(SETTINGS.strategies.zero_dte, weights={"flow": 1.0}, min_confidence=60.0, cooldown_seconds=None)
SIGNALS = renewed(
    SETTINGS.signals, score_slope=4.0, uncalibrated_cap=84.0, max_quote_age_seconds=2.0, max_spread_share=0.1,
    max_spread_usd=0.05,
    stop_atr=1.5, target_atr=(1.5, 2.5, 4.0), prior_wins=60.0, prior_losses=20.0, win_quantile=0.2, kelly_share=0.25,
    premium_cap_share=0.02, cooldown_seconds=300.0,
)  # fmt: skip
LIMITS = Limits(SIGNALS, min_chain_quality=0.5, max_account_age_seconds=60.0)


def rule(lean: float) -> StrategyRule:
    """A strategy that sees that much on one side."""
    return StrategyRule(
        "0DTE", lambda s: s.zero_dte, lambda _: {"flow": lean}, lambda *_: None, lambda _inputs, _features, up: (f"up {up}",),
        ("regime",),
    )  # fmt: skip


def metric(**components: Any) -> Metric:
    return Metric("regime", "SPY", NOW, True, None, 1.0, "", "", 1, components, {})


def chain(quality: float = 0.5, *, stale: bool = False) -> Chain:
    return Chain("SPY", NOW, NOW, quality, stale, None, 0, ())


def quote(**changes: Any) -> ContractQuote:
    found = ContractQuote(NAMED, "SPY", "", "OPT", NOW, NOW - 2 * SECOND, 0.01, 1.20, 10, 1.22, 10)
    return renewed(found, **changes)


def situation(**changes: Any) -> Situation:
    shown = {NAMED: changes.pop("shown", quote())}
    status = changes.pop("status", Status("SPY", NOW, False, 0))
    metrics: Mapping[str, Metric] = changes.pop("metrics", {"regime": metric(atr_1m=0.5)})
    return Situation(
        **{
            "inputs": Inputs("SPY", NOW, metrics, status), "machine_ns": NOW, "clock": "10:00:00",
            "window_ns": (NOW, NOW + SECOND), "session_open": True, "spot": 600.0, "chain": chain(), "expiry": "20261218",
            "candidates": {"long_call": Candidate(CALL, 0.4, 0.02), "long_put": Candidate(PUT, -0.4, 0.02)},
            "con_id": lambda _: NAMED, "quote": shown.get, "last_signal_ns": None, "alive": None,
            "equity": 100_000.0, "equity_age_seconds": 60.0,
        }
        | changes
    )  # fmt: skip


def decided(lean: float = 0.5, limits: Limits = LIMITS, **changes: Any) -> Decision:
    return decide(rule(lean), WINDOW, situation(**changes), limits)


def stopped_by(decision: Decision) -> list[str]:
    return [gate.name for gate in decision.gates if not gate.passed]


def test_at_the_last_bound_of_everything_there_is_a_proposal() -> None:
    # given the window's first instant, the least quality, the oldest quote and account that still count
    found = decided()
    assert stopped_by(found) == [] and found.proposal is not None
    p = found.proposal
    # then it is a call of the contract the broker named, at the ask, stopped 1.5 ATR of 0.5 below it through a delta of 0.4
    assert (p.direction, p.contract, p.bid, p.ask, p.spot) == ("long_call", replace_con(CALL), 1.20, 1.22, 600.0)
    assert (p.levels.entry, p.levels.stop, p.levels.targets) == (1.22, 0.92, (1.52, 1.72, 2.02))
    # and its size is what 2 % of $100,000 buy at $122: 16 and not 17
    assert (p.size.contracts, p.reasons) == (16, ("up True",))
    # and on the other side a put
    other = decided(-0.5).proposal
    assert other is not None and (other.direction, other.contract.right, other.reasons) == ("long_put", "P", ("up False",))


def replace_con(contract: OptionRef) -> OptionRef:
    return renewed(contract, con_id=NAMED)


def test_a_contract_of_other_shares_is_sized_by_them() -> None:
    mini = renewed(CALL, multiplier=10)
    found = decided(candidates={"long_call": Candidate(mini, 0.4, 0.02)}).proposal
    assert found is not None and (found.size.contracts, found.contract.multiplier) == (163, 10)


def test_trades_of_the_past_are_counted_on_their_side() -> None:
    def rate(**trades: int) -> float:
        proposal = decided(limits=replace(LIMITS, **trades)).proposal
        assert proposal is not None
        return proposal.size.win_rate

    assert rate(losses=10) < rate() < rate(wins=10)


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("session", {"session_open": False}),
        ("window", {"window_ns": None}),
        ("window", {"window_ns": (NOW + 1, NOW + SECOND)}),
        ("window", {"window_ns": (NOW - SECOND, NOW)}),
        ("halt", {"status": None}),
        ("halt", {"status": Status("SPY", NOW, True, 0)}),
        ("halt", {"status": Status("SPY", NOW, None, 0)}),
        ("chain", {"chain": None}),
        ("chain", {"chain": chain(quality=0.49)}),
        ("chain", {"chain": chain(stale=True)}),
        ("chain", {"expiry": None}),
        ("cooldown", {"last_signal_ns": NOW - 300 * SECOND + 1}),
        ("one at a time", {"alive": "s-1"}),
        ("contract", {"candidates": {"long_put": Candidate(PUT, -0.4, 0.02)}}),
        ("quote", {"con_id": lambda _: None}),
        ("quote", {"shown": None}),
        ("quote", {"shown": quote(machine_ns=NOW - 2 * SECOND - 1)}),
        ("quote", {"shown": quote(bid=None)}),
        ("quote", {"shown": quote(ask=None)}),
        ("quote", {"shown": quote(bid=0.0, ask=0.05)}),
        ("quote", {"shown": quote(bid=1.22)}),
        ("quote", {"shown": quote(bid=1.30)}),
        ("quote", {"shown": quote(bid=1.09)}),
        ("stop", {"spot": None}),
        ("stop", {"metrics": {"regime": metric(atr_1m=0.0)}}),
        ("stop", {"metrics": {"regime": metric(atr_1m=5.0)}}),
        ("size", {"equity": None}),
        ("size", {"equity_age_seconds": None}),
        ("size", {"equity_age_seconds": 60.1}),
        ("size", {"equity": 6_099.0}),
    ],
)
def test_one_thing_otherwise_stops_it_at_its_gate(gate: str, changes: dict[str, Any]) -> None:
    found = decided(**changes)
    assert stopped_by(found) == [gate] and found.proposal is None


def test_a_metric_that_is_missing_stops_it_and_so_does_the_stop_that_needs_it() -> None:
    assert stopped_by(decided(metrics={})) == ["metrics", "stop"]


def test_evidence_that_is_too_weak_or_none_is_no_signal() -> None:
    # 100 / (1 + exp(-4 x 0.1)) is 59.9, with 0.11 it is 60.8
    assert stopped_by(decided(0.10)) == ["score"] and stopped_by(decided(0.11)) == []
    assert stopped_by(decided(0.0)) == ["score", "contract"]


def test_a_wide_spread_is_narrow_in_cents_or_in_share() -> None:
    # 12 cents are under a tenth of $1.28; 5 cents of $0.30 are more than a tenth and no more than 5 cents
    assert stopped_by(decided(shown=quote(bid=1.16, ask=1.28))) == []
    assert "quote" not in stopped_by(decided(shown=quote(bid=0.25, ask=0.30)))
    assert "quote" in stopped_by(decided(shown=quote(bid=0.24, ask=0.30)))


def test_the_pause_is_the_strategys_own_where_it_has_one() -> None:
    assert stopped_by(decided(last_signal_ns=NOW - 300 * SECOND)) == []
    own = renewed(WINDOW, cooldown_seconds=600.0)
    found = decide(rule(0.5), own, situation(last_signal_ns=NOW - 300 * SECOND), LIMITS)
    assert stopped_by(found) == ["cooldown"]
