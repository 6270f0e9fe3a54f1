"""What risk knows at the moment of a decision. Everything a rule may look at is in here; what is not known is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from alphatrader.contract.messages.orders import Account, BuyingPower
from alphatrader.contract.messages.positions import Pnl, PositionsSummary
from alphatrader.contract.messages.risk import Halt, RiskState
from alphatrader.core.risk.alike import Bet
from alphatrader.core.risk.portfolio import Matrix

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Picture:
    ts_ns: int
    machine_ns: int
    session: str
    """The session that values of this instant belong to."""
    session_open: bool
    flat_ns: int
    """From here on nothing that expires today may be held."""
    windows: Mapping[str, tuple[int, int]]
    """Strategy -> its window in this session, half-open, for those that are enabled."""
    state: RiskState
    halt: Halt | None
    account: Account | None
    buying_power: BuyingPower | None
    summary: PositionsSummary | None
    realized: Pnl | None
    unrealized: Pnl | None
    places: Mapping[str, str]
    """Intent or position -> symbol: positions, opening orders, reservations."""
    pending_usd: Decimal
    """Premium of approvals that the broker's buying power may not know yet."""
    unknown_orders: tuple[str, ...]
    bets: Mapping[str, Bet] = field(default_factory=dict)
    """Place -> what it can lose, and with what."""
    correlations: Matrix = field(default_factory=dict)
    """As last discovered; a pair that is not in it counts as alike."""

    @property
    def today(self) -> str:
        """The session as expiries are written, YYYYMMDD."""
        return self.session.replace("-", "")

    def age_seconds(self, machine_ns: int) -> float:
        return (self.machine_ns - machine_ns) / SECOND

    @property
    def day_pnl(self) -> Decimal | None:
        """Realized plus unrealized of the session, prior-close marks; None while either is not known."""
        pnls = (self.realized, self.unrealized)
        values = [pnl.value for pnl in pnls if pnl is not None and pnl.session == self.state.session and pnl.value is not None]
        if len(values) < 2:
            return None
        total = sum(values, Decimal(0)) - self.state.carried_unrealized
        return total if total.is_finite() else None
