"""What `ibkr` says of itself in its heartbeat: state and reason, what is stale and why, what the account grants and refused.

Used by `IBKRIngestion` twice a second. `alphatrader status`, doctor and the dashboard show it; the watchdog alarms by it.
"""

from __future__ import annotations

from collections.abc import Mapping

from alphatrader.clients.ibkr.connection import BrokerConnection
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.link import Link
from alphatrader.runtime.audit import AuditLog
from alphatrader.runtime.module import StreamModule
from alphatrader.streams.ibkr.contracts import Contracts
from alphatrader.streams.ibkr.lines import Lines


class Report:
    def __init__(
        self,
        module: StreamModule,
        feeds: Mapping[str, SymbolFeed],
        connection: BrokerConnection,
        link: Link,
        lines: Lines,
        contracts: Contracts,
        audit: AuditLog | None,
    ) -> None:
        self._health, self._feeds, self._connection = module.health, feeds, connection
        self._link, self._lines, self._contracts, self._audit = link, lines, contracts, audit

    def tell(self, now: float, *, in_reset: bool, frames_refused: int) -> None:
        """`now`: monotonic seconds; `in_reset`: whether this is the broker's nightly reset."""
        self._tell_facts(now, frames_refused)
        waits = self._waits_for()
        stale = {"everything": waits} if waits else self._lines.stale(now)
        self._health.fact("stale", "; ".join(f"{symbol}: {why}" for symbol, why in stale.items()) or None)
        if waits:
            self._health.waiting(
                waits + (", in the broker's nightly reset" if in_reset else ""), None if self._link.competing else "broker"
            )
        elif troubles := self._troubles(now):
            self._health.degraded("; ".join(troubles))
        else:
            self._health.ready()

    def _tell_facts(self, now: float, frames_refused: int) -> None:
        feeds, fact = self._feeds.items(), self._health.fact
        fact("age_seconds", {s: None if f.heard is None else round(now - f.heard, 1) for s, f in feeds})
        gateway = self._connection.gateway
        fact("gateway", f"{gateway.host}:{gateway.port}" if gateway else None)
        fact("connections", self._connection.connections)
        fact("slots", dict(self._lines.subscriptions.counts()) if self._lines.subscriptions else {})
        fact("limits", self._lines.learnt(now))
        fact("refused_frames", frames_refused + self._connection.decode_errors)
        fact("refused_values", sum(sum(f.refused.values()) for _, f in feeds))
        fact("last_refused_values", [f.last_refusal for _, f in feeds if f.last_refusal])
        fact("audit_dropped", self._audit.dropped if self._audit else None)
        fact("depth_broken", {s: f.depth_broken for s, f in feeds if f.depth_broken})
        fact("conflated_books", sum(f.books.unseen for _, f in feeds))
        fact("conflated_quotes", sum(f.quotes.unseen for _, f in feeds))
        fact("bars_different", sum(f.bars_different for _, f in feeds))
        fact("gaps", sum(f.gaps for _, f in feeds))
        fact("futures_differ", "; ".join(self._contracts.differences) or None)

    def _waits_for(self) -> str | None:
        """What keeps everything from coming."""
        if not self._connection.connected:
            return f"no gateway: {self._connection.problem}"
        if not self._link.up:
            return "the gateway has lost its link to the broker"
        if not self._contracts.answered:
            return "the broker has not said yet which contracts it lists"
        return "another session of this login has the market data (10197)" if self._link.competing else None

    def _troubles(self, now: float) -> list[str]:
        """What a person should know though data come."""
        told = {
            "no contract for": self._contracts.unlisted,
            "farms down:": self._link.farms_down(now),
            "no data though asked for again:": self._lines.unproven(),
            "the broker's futures differ from the rules:": self._contracts.differences,
            "audit log:": [self._audit.problem] if self._audit is not None and self._audit.problem else [],
        }
        return [f"{what} {', '.join(names)}" for what, names in told.items() if names]
