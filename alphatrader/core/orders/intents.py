"""Order records as they are written before anything is sent: the bracket of an approval, a stop or an exit of a position."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.orders import OrderRecord, OrderState
from alphatrader.contract.messages.risk import Approval
from alphatrader.core.orders.book import Now
from alphatrader.core.orders.pricing import Prices


def entry(
    approval: Approval, *, limit: Decimal | None, state: OrderState, reason: str | None, mid: Decimal | None, now: Now, fence: int
) -> OrderRecord:
    """The parent. `limit` None is a plain market order; a refused approval becomes a record too, so that risk hears its end."""
    return OrderRecord(
        id=approval.intent_id,
        intent_id=approval.intent_id,
        role="entry",
        symbol=approval.symbol,
        contract=approval.contract,
        side="BUY",
        quantity=approval.quantity,
        order_type="MKT" if limit is None else "LMT",
        limit_price=limit,
        stop_price=None,
        state=state,
        filled=0,
        average_price=None,
        order_id=None,
        perm_id=None,
        client_id=None,
        reason=reason,
        strategy=str(approval.strategy),
        signal_id=approval.signal_id,
        created_ns=now.ts_ns,
        updated_ns=now.ts_ns,
        machine_ns=now.machine_ns,
        fence=fence,
        halt_epoch=approval.halt_epoch,
        reference_price=mid,
    )


def child(
    parent: OrderRecord | None,
    *,
    ref: str,
    intent_id: str,
    role: Literal["stop", "target", "exit"],
    contract: OptionRef,
    quantity: int,
    limit: Decimal | None,
    stop: Decimal | None,
    tif: Literal["DAY", "GTC"],
    oca_group: str,
    mid: Decimal | None,
    now: Now,
    fence: int,
    reason: str | None = None,
    side: Literal["BUY", "SELL"] = "SELL",
) -> OrderRecord:
    """A closing order of an intent: stop, target, or exit (a market order without a limit). It buys only to close a short."""
    order_type: Literal["LMT", "MKT", "STP"] = "STP" if stop is not None else "MKT" if limit is None else "LMT"
    return OrderRecord(
        id=ref,
        intent_id=intent_id,
        role=role,
        symbol=contract.symbol,
        contract=contract,
        side=side,
        quantity=quantity,
        order_type=order_type,
        limit_price=limit,
        stop_price=stop,
        state="INTENT",
        filled=0,
        average_price=None,
        order_id=None,
        perm_id=None,
        client_id=None,
        reason=reason,
        strategy=parent.strategy if parent else "",
        signal_id=parent.signal_id if parent else None,
        created_ns=now.ts_ns,
        updated_ns=now.ts_ns,
        machine_ns=now.machine_ns,
        fence=fence,
        halt_epoch=parent.halt_epoch if parent else 0,
        tif=tif,
        oca_group=oca_group,
        reference_price=mid,
    )


def bracket(
    approval: Approval, limit: Decimal | None, prices: Prices, session_day: str, now: Now, fence: int
) -> tuple[OrderRecord, OrderRecord, OrderRecord]:
    """Entry, stop and target of an approval. The stop outlives the day unless the contract does not (`session_day` YYYYMMDD)."""
    parent = entry(approval, limit=limit, state="INTENT", reason=None, mid=prices.mid, now=now, fence=fence)
    intent_id, contract, quantity = approval.intent_id, approval.contract, approval.quantity
    stop = child(
        parent,
        ref=f"{intent_id}/stop",
        intent_id=intent_id,
        role="stop",
        contract=contract,
        quantity=quantity,
        limit=None,
        stop=prices.on_grid(approval.stop_price, "nearest"),
        tif=life(contract, session_day),
        oca_group=group(intent_id),
        mid=None,
        now=now,
        fence=fence,
    )
    target = child(
        parent,
        ref=f"{intent_id}/target",
        intent_id=intent_id,
        role="target",
        contract=contract,
        quantity=quantity,
        limit=prices.on_grid(approval.target_price, "up"),
        stop=None,
        tif=life(contract, session_day),
        oca_group=group(intent_id),
        mid=None,
        now=now,
        fence=fence,
    )
    return parent, stop, target


def life(contract: OptionRef, session_day: str) -> Literal["DAY", "GTC"]:
    """Protection outlives the day where the contract does."""
    return "DAY" if contract.expiry <= session_day else "GTC"


def group(intent_id: str) -> str:
    return f"oca-{intent_id}"
