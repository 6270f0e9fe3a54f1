"""What is written before anything is sent: the bracket of an approval, and closing orders with what they inherit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.orders import OrderRecord
from alphatrader.core.orders import intents
from tests.core.test_orders_book import OPTION, at
from tests.core.test_orders_limits import APPROVAL, prices

D = Decimal


def a_child(parent: OrderRecord | None = None, **changes: Any) -> OrderRecord:
    given: dict[str, Any] = {
        "ref": "i-1/exit-1", "intent_id": "i-1", "role": "exit", "contract": OPTION, "quantity": 2, "limit": None, "stop": None,
        "tif": "DAY", "oca_group": "", "mid": None, "now": at(5), "fence": 3,
    }  # fmt: skip
    return intents.child(parent, **given | changes)


def test_a_bracket_is_one_entry_with_its_stop_and_target_in_a_group_on_the_grid() -> None:
    odd = replace(APPROVAL, stop_price=D("3.02"), target_price=D("6.01"))
    entry, stop, target = intents.bracket(odd, D("4.00"), prices(), "20261118", at(5), 3)
    assert [(o.id, o.intent_id, o.role, o.side, o.quantity) for o in (entry, stop, target)] == [
        ("i-1", "i-1", "entry", "BUY", 2),
        ("i-1/stop", "i-1", "stop", "SELL", 2),
        ("i-1/target", "i-1", "target", "SELL", 2),
    ]
    assert [(o.order_type, o.limit_price, o.stop_price) for o in (entry, stop, target)] == [
        ("LMT", D("4.00"), None),
        ("STP", None, D("3.00")),  # nearest
        ("LMT", D("6.05"), None),  # never for less than was asked
    ]
    assert [o.oca_group for o in (entry, stop, target)] == ["", "oca-i-1", "oca-i-1"]
    assert [o.reference_price for o in (entry, stop, target)] == [D("4.00"), None, None]
    # nothing of it is at the broker yet
    for order in (entry, stop, target):
        assert (order.state, order.filled, order.order_id, order.perm_id, order.client_id) == ("INTENT", 0, None, None, None)
        assert (order.created_ns, order.machine_ns, order.fence) == (at(5).ts_ns, at(5).machine_ns, 3)
        assert (order.strategy, order.signal_id, order.halt_epoch) == ("0DTE", "s-1", 4)


@pytest.mark.parametrize(("session_day", "life"), [("20261217", "GTC"), ("20261218", "DAY"), ("20261219", "DAY")])
def test_protection_outlives_the_day_where_the_contract_does(session_day: str, life: str) -> None:
    _, stop, target = intents.bracket(APPROVAL, D("4.00"), prices(), session_day, at(5), 3)
    assert (stop.tif, target.tif) == (life, life)


def test_an_order_without_a_limit_is_at_market() -> None:
    plain = intents.entry(APPROVAL, limit=None, state="EXPIRED", reason="refused", mid=None, now=at(5), fence=3)
    assert (plain.order_type, plain.limit_price, plain.state, plain.reason) == ("MKT", None, "EXPIRED", "refused")
    assert [(o.order_type, o.limit_price, o.stop_price) for o in (a_child(), a_child(limit=D(4)), a_child(stop=D(3)))] == [
        ("MKT", None, None),
        ("LMT", D(4), None),
        ("STP", None, D(3)),
    ]


def test_a_closing_order_is_of_its_entrys_strategy_and_of_none_where_that_is_lost() -> None:
    parent = intents.entry(APPROVAL, limit=D(4), state="FILLED", reason=None, mid=None, now=at(1), fence=2)
    ours, lost = a_child(parent), a_child(side="BUY")
    assert (ours.side, ours.strategy, ours.signal_id, ours.halt_epoch, ours.fence) == ("SELL", "0DTE", "s-1", 4, 3)
    assert (lost.side, lost.strategy, lost.signal_id, lost.halt_epoch) == ("BUY", "", None, 0)
