"""What distribution's tests share: signals, verdicts, positions and trades by hand, and vendors on the product's own clock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import structlog
from msgspec.structs import replace

from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.positions import ClosedTrade, Position, PositionEvent
from alphatrader.contract.messages.risk import Approval
from alphatrader.contract.messages.signals import Signal, SignalEvent
from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.context import Context
from alphatrader.runtime.secrets import Secrets
from tests.support.servers import Servers
from tests.support.vendors import CREDENTIALS, MONDAY_TEN_NS, NS, HandClock, Running, running_vendors

T = TypeVar("T")
CONTRACT = OptionRef("SPY", "20261123", 660.0, "C", 501)
WEBHOOKS = {name: (f"100{n}", f"{name}-token-secret") for n, name in enumerate(("premium", "basic", "free", "operator"))}


def until(condition: Callable[[], T], limit: float = 60.0) -> T:
    """The condition's value once it is true; AssertionError after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {limit} s"
        time.sleep(0.02)
    return value


def a_signal(number: int = 1, *, ts_ns: int = MONDAY_TEN_NS, **more: Any) -> Signal:
    signal = Signal(
        id=f"2026-11-23-SPY-0DTE-{number}",
        strategy="0DTE",
        symbol="SPY",
        contract=CONTRACT,
        direction="long_call",
        confidence=86.4,
        calibrated=False,
        quantity=2,
        entry=4.05,
        stop=3.25,
        targets=(4.85, 5.65, 6.45),
        bid=4.0,
        ask=4.1,
        under_price=661.2,
        reasons=("Buyers pay up: order flow toxicity is 0.62", "Dealers are short gamma above 660"),
        features={},
        ts_ns=ts_ns,
        machine_ns=0,
        expires_ns=ts_ns + 60 * NS,
        fence=1,
    )
    return replace(signal, **more)


def made(signal: Signal) -> SignalEvent:
    return SignalEvent("new", signal)


def a_verdict(signal: Signal, *, approved: bool = True) -> Approval:
    return Approval(
        intent_id=signal.id,
        signal_id=signal.id,
        approved=approved,
        reason="within all limits" if approved else "positions 5 of 5",
        strategy=signal.strategy,
        symbol=signal.symbol,
        contract=signal.contract,
        quantity=signal.quantity,
        limit_price=Decimal("4.05"),
        stop_price=Decimal("3.25"),
        target_price=Decimal("6.45"),
        machine_ns=0,
        ts_ns=signal.ts_ns,
        halt_epoch=1,
        limits_version="test",
        fence=1,
    )


def a_position(signal: Signal, **more: Any) -> Position:
    position = Position(
        id=signal.id,
        symbol=signal.symbol,
        strategy=signal.strategy,
        signal_id=signal.id,
        contract=signal.contract,
        status="open",
        quantity=2,
        opened_quantity=2,
        average_price=Decimal("4.05"),
        cost=Decimal("811.30"),
        realized=Decimal(0),
        commissions=Decimal("1.30"),
        mark=None,
        mark_age_ms=None,
        unrealized=None,
        stop=Decimal("3.25"),
        targets=(Decimal("4.85"),),
        opened_ns=signal.ts_ns,
        closed_ns=None,
        updated_ns=signal.ts_ns,
    )
    return replace(position, **more)


def opened(signal: Signal) -> PositionEvent:
    return PositionEvent("opened", a_position(signal), signal.ts_ns)


def closed(signal: Signal, result: str, ts_ns: int) -> PositionEvent:
    position = a_position(signal, status="closed", quantity=0, realized=Decimal(result), closed_ns=ts_ns)
    return PositionEvent("closed", position, ts_ns, "exit")


def a_trade(signal: Signal, pnl: str, closed_ns: int, **more: Any) -> ClosedTrade:
    trade = ClosedTrade(
        position_id=signal.id,
        strategy=signal.strategy,
        symbol=signal.symbol,
        contract=signal.contract,
        quantity=2,
        entry_price=Decimal("4.05"),
        exit_price=Decimal("5.00"),
        commissions=Decimal("2.60"),
        pnl=Decimal(pnl),
        slippage=None,
        confidence=86.4,
        opened_ns=signal.ts_ns,
        closed_ns=closed_ns,
        session="2026-11-23",
        reason="exit: target 1",
    )
    return replace(trade, **more)


# -- vendors on the product's clock, and modules in this process


class ProductClock(HandClock):
    """The stand-ins stamp with the same market time that the product reads."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def machine_s(self) -> float:
        return self.clock.machine_ns() / 1e9

    def now_ns(self) -> int:
        return self.clock.market_ns()


def market_clock(start_ns: int = MONDAY_TEN_NS, speed: float = 1.0) -> Clock:
    return Clock(start_ns, time.time_ns(), speed)


@contextlib.contextmanager
def vendors_on(clock: Clock, folder: Path) -> Iterator[Running]:
    folder.mkdir(exist_ok=True)
    with running_vendors(folder, clock=ProductClock(clock), discord_webhooks=WEBHOOKS) as running:
        yield running


def vendor_settings(url: str) -> dict[str, str]:
    """Overrides that lead the product to stand-ins at `url`; names without their prefix."""
    return {
        "vendors__discord_url": f"{url}/discord/api/webhooks",
        "vendors__telegram_url": f"{url}/telegram",
        "vendors__x_url": f"{url}/x",
    }


def vendor_environment() -> dict[str, str]:
    """The secrets that the stand-ins of `vendors_on` accept."""
    return {
        **{f"DISCORD_{name.upper()}_WEBHOOK": "/".join(webhook) for name, webhook in WEBHOOKS.items()},
        "TELEGRAM_BOT_TOKEN": CREDENTIALS.telegram_token,
        "X_CONSUMER_KEY": CREDENTIALS.x_consumer_key,
        "X_CONSUMER_SECRET": CREDENTIALS.x_consumer_secret,
        "X_ACCESS_TOKEN": CREDENTIALS.x_access_token,
        "X_ACCESS_SECRET": CREDENTIALS.x_access_token_secret,
    }


def led_to(settings: Settings, url: str, **vendors: Any) -> Settings:
    """These settings with the vendors at `url`."""
    values = {name.removeprefix("vendors__"): value for name, value in vendor_settings(url).items()}
    return replace(settings, vendors=replace(settings.vendors, **(values | vendors)))


def context_of(module: Module, servers: Servers, settings: Settings, clock: Clock, folder: Path) -> Context:
    environment = servers.vault.environment_for(module) | vendor_environment()
    # Given its processors here: another suite may have configured structlog for the process.
    render = structlog.processors.KeyValueRenderer()
    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[render], wrapper_class=structlog.BoundLogger)
    return Context(module, settings, Secrets(module, environment), clock, nyse(), log, folder)


__all__ = ["MONDAY_TEN_NS", "NS", "Running"]
