"""AlphaTrader: the roster of modules in start order, what each runs, what it needs, and whether it has work in a mode.

Read by the parent of each Procfile line, `alphatrader status` and the watchdog.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Literal

from alphatrader.contract.modules import Module as M
from alphatrader.contract.modules import instance_name
from alphatrader.contract.settings import Settings

Kind = Literal["server", "stream", "process", "celery", "beat", "flower", "web"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the Procfile."""

    module: M
    kind: Kind
    target: str
    """`package.module:Class` of a stream, `package.module:function` of a process or a web application."""
    about: str
    needs: tuple[M, ...] = (M.REDIS, M.STATE)
    modes: tuple[str, ...] = ("sandbox", "paper", "live")
    niceness: int = 0
    """Lines that can wait give way to those that carry quotes and orders."""
    heartbeat: bool = True
    """Whether it writes `health:{module}` itself; of others the watchdog tells what it sees from outside."""
    shards: str = ""
    """The setting that says how many processes share its work; without one it is a single process."""

    def instances(self, settings: Settings) -> tuple[str, ...]:
        """The names of its processes: the module's own, then those of its further shards."""
        count: int = attrgetter(self.shards)(settings) if self.shards else 1
        return tuple(instance_name(self.module, shard) for shard in range(1, count + 1))


class AlphaTrader:
    """The whole system, line by line, in the order of the flow."""

    LINES: Final = (
        Line(M.REDIS, "server", "", "Data server", needs=(), heartbeat=False),
        Line(M.STATE, "server", "", "State server and Celery's broker", needs=(), heartbeat=False),
        Line(
            M.SANDBOX,
            "process",
            "alphatrader.sandbox.main:main",
            "Stand-ins for the broker and every vendor",
            needs=(),
            modes=("sandbox",),
            heartbeat=False,
        ),
        Line(M.IBKR, "stream", "alphatrader.streams.ibkr:IBKRIngestion", "Market data from the broker"),
        Line(
            M.ANALYTICS,
            "stream",
            "alphatrader.streams.analytics:AnalyticsEngine",
            "Seven metrics a symbol",
            shards="analytics.shards",
        ),
        Line(M.SIGNALS, "stream", "alphatrader.streams.signals:SignalGenerator", "Four strategies"),
        Line(M.RISK, "stream", "alphatrader.streams.risk:RiskManager", "Limits, approvals, the lease"),
        Line(M.EXECUTION, "stream", "alphatrader.streams.execution:ExecutionManager", "Orders at the broker"),
        Line(M.POSITIONS, "stream", "alphatrader.streams.positions:PositionManager", "Positions, P&L, wanted exits"),
        Line(M.EMERGENCY, "stream", "alphatrader.streams.emergency:EmergencyManager", "Halt and flatten, own connection"),
        Line(M.DISTRIBUTION, "stream", "alphatrader.streams.distribution:SignalDistributor", "Signals into the tiers' queues"),
        Line(
            M.TELEGRAM, "stream", "alphatrader.streams.telegram:TelegramBot", "Commands of subscribers and operator", niceness=5
        ),
        Line(M.DASHBOARD, "web", "alphatrader.web.dashboard:create_app", "The operator's page"),
        Line(M.PAGES, "web", "alphatrader.web.pages:create_app", "Subscribers' pages, Stripe's webhook", niceness=5),
        Line(M.PULLS, "celery", "threads:6", "Alpha Vantage: chains and news"),
        Line(M.DISCOVERY, "celery", "prefork:1", "Nightly parameter discovery", niceness=10),
        Line(M.DELIVERY, "celery", "threads:8", "Discord, Telegram and X sending", niceness=3),
        Line(M.ROUTINES, "celery", "threads:2", "The day's routines and the morning note", niceness=10),
        Line(M.BEAT, "beat", "", "Celery's schedule, New York time", heartbeat=False),
        Line(M.FLOWER, "flower", "", "Celery seen from outside, read-only", niceness=10, heartbeat=False),
        Line(M.WATCHDOG, "process", "alphatrader.streams.watchdog:main", "Tells the operator what is dead or stalled", needs=()),
    )

    @classmethod
    def line(cls, name: str) -> Line:
        """Raises KeyError with the names there are."""
        for line in cls.LINES:
            if line.module == name:
                return line
        raise KeyError(f"no module {name!r}; there are: {', '.join(line.module for line in cls.LINES)}")
