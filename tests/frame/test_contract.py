"""The contract is whole: every key of the plan, one writer each, patterns that cannot be confused, messages that decode."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from alphatrader.contract import keys as k
from alphatrader.contract import render
from alphatrader.contract.key import SELF, BadKeyPartError, Kind, Server
from alphatrader.contract.modules import Module

PLAN = [
    "market:{symbol}:book",
    "market:{symbol}:trades",
    "market:{symbol}:last",
    "market:{symbol}:bars",
    "market:{symbol}:timestamp",
    "options:{symbol}:chain",
    "options:{symbol}:greeks",
    "options:{symbol}:flow",
    "options:{symbol}:unusual",
    "sentiment:{symbol}:score",
    "discovered:vpin_bucket_size",
    "discovered:lookback_bars",
    "discovered:mm_profiles",
    "discovered:vol_regimes",
    "discovered:correlation_matrix",
    "metrics:{symbol}:vpin",
    "metrics:{symbol}:obi",
    "metrics:{symbol}:gex",
    "metrics:{symbol}:dex",
    "metrics:{symbol}:sweep",
    "metrics:{symbol}:hidden",
    "metrics:{symbol}:regime",
    "signals:{symbol}:pending",
    "signals:{symbol}:active",
    "signals:global:count",
    "positions:{symbol}:{id}",
    "positions:summary",
    "orders:pending:{id}",
    "orders:working:{id}",
    "global:buying_power",
    "global:positions:count",
    "global:pnl:realized",
    "global:pnl:unrealized",
    "global:risk:correlation",
    "global:risk:var",
    "global:halt",
    "distribution:basic:queue",
    "distribution:premium:queue",
    "distribution:signals:count",
    "telegram:user:{id}:tier",
    "telegram:signals:{symbol}:queue",
    "telegram:analysis:queue",
    "twitter:tweet:{id}",
    "twitter:posted_signals",
    "analysis:morning:full",
    "analysis:morning:preview",
    "dashboard:morning_analysis",
]
"""Every Redis key the user's plan names."""

PLAN_TTL = {
    "market": 1,
    "options": 10,
    "sentiment": 300,
    "discovered": 86_400,
    "metrics": 5,
    "analysis": 86_400,
    "twitter:tweet": 86_400,
}


def test_every_key_of_the_plan_is_declared_and_marked() -> None:
    declared = {key.pattern for key in k.ALL if key.plan}
    assert declared == set(PLAN)


def test_the_plans_lifetimes_are_kept() -> None:
    for key in k.ALL:
        if key.plan:
            wanted = next((ttl for start, ttl in PLAN_TTL.items() if key.pattern.startswith(start + ":")), None)
            if key.pattern.startswith("orders:"):
                wanted = 300
            elif key.pattern in ("signals:{symbol}:pending", "signals:{symbol}:active"):
                wanted = 60
            elif key.pattern == "dashboard:morning_analysis":
                wanted = 86_400
            assert key.ttl_seconds == wanted, key.pattern


def test_no_two_patterns_match_one_name() -> None:
    """A part holds no colon, so two patterns collide only where every segment may be equal."""
    for one, other in itertools.combinations(k.ALL, 2):
        a, b = one.pattern.split(":"), other.pattern.split(":")
        if len(a) == len(b):
            apart = any(x != y and not x.startswith("{") and not y.startswith("{") for x, y in zip(a, b, strict=True))
            assert apart, (one.pattern, other.pattern)


def test_every_key_has_a_reader_besides_the_screens_or_says_why() -> None:
    """A key nobody but the dashboard and the operator reads is for people; those are listed, so that an orphan is noticed."""
    for_people = {
        "audit:index",
        "audit:index:{module}",
        "signals:{symbol}:why",
        "checkpoint:{symbol}",
        "checkpoint:{symbol}:vpin_history",
        "twitter:tweet:{id}",
        "twitter:posted_signals",
        "ledger:stripe",
        "fence:{module}",
        "cursor:{module}",
        "redelivered:{module}",
        "dashboard:morning_analysis",
    }
    orphans = {key.pattern for key in k.ALL if not set(key.readers) - {Module.DASHBOARD, Module.OPERATOR} and not key.takers}
    assert orphans <= for_people


def test_a_name_is_parsed_back_to_its_key() -> None:
    assert k.find("market:SPY:book") is k.MARKET_BOOK
    assert k.find("positions:SPY:2026-11-18-SPY-0DTE-1") is k.POSITIONS
    assert k.find("market:SPY:books") is None
    assert k.MARKET_BOOK.parse("market:SPY:book") == {"symbol": "SPY"}


def test_parts_must_be_exactly_those_of_the_pattern() -> None:
    with pytest.raises(BadKeyPartError, match="needs"):
        k.MARKET_BOOK.at()
    with pytest.raises(BadKeyPartError, match="needs"):
        k.MARKET_BOOK.at(symbol="SPY", id="1")


def test_a_module_writes_its_own_self_named_keys_and_nobody_elses() -> None:
    assert k.HEALTH.may_write(Module.RISK, "health:risk")
    for name in ("analytics", "analytics.2", "analytics.99"):
        assert k.HEALTH.may_write(Module.ANALYTICS, f"health:{name}")
    for name in ("analytics.1", "analytics.02", "analytics.100", "analytics.x", "analytics2", "analytics."):
        assert not k.HEALTH.may_write(Module.ANALYTICS, f"health:{name}")
    assert not k.LOCK.may_write(Module.RISK, "lock:risk.2")
    assert not k.HEALTH.may_write(Module.RISK, "health:ibkr")
    assert not k.CONTROL.may_write(Module.TELEGRAM, "control:dashboard")


def test_every_message_type_builds_a_decoder_for_its_kind() -> None:
    for key in k.ALL:
        if key.kind == Kind.STREAM:
            msgspec.msgpack.Decoder(key.schema)
        elif key.kind != Kind.LOG:
            msgspec.json.Decoder(key.schema)


def test_one_writer_each_and_reading_rights_do_not_write() -> None:
    for key in k.ALL:
        assert isinstance(key.writer, Module) or key.writer is SELF
        for module in Module:
            if module in (Module.REDIS, Module.STATE):
                continue
            rules = render.acl_rules(module, key.server)
            writes = any(f" ~{name}" in rules for name in ({key.glob()} if module in key.takers else key.globs_of(module)))
            assert writes == (render.writes(key, module) or module in key.takers), (module, key.pattern)


def test_the_read_only_user_has_no_key_it_may_write() -> None:
    for server in Server:
        assert " ~" not in render.acl_rules(Module.OPERATOR, server)
