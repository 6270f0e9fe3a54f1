"""Every Redis key of AlphaTrader, one file a step of the flow. Nothing is read or written that is not declared here.

The store's check, the ACL users, `docs/keys.md` and the flow graph derive from ALL. A key is used as `keys.MARKET_BOOK`,
whichever file declares it; a new one belongs in the file of the module that writes it, and is in ALL by being there.
"""

from __future__ import annotations

from typing import Any, Final

from alphatrader.contract.key import Key
from alphatrader.contract.keys import (
    control,
    discovered,
    distribution,
    market,
    metrics,
    operations,
    options,
    orders,
    people,
    positions,
    risk,
    signals,
)
from alphatrader.contract.keys.control import *
from alphatrader.contract.keys.discovered import *
from alphatrader.contract.keys.distribution import *
from alphatrader.contract.keys.market import *
from alphatrader.contract.keys.metrics import *
from alphatrader.contract.keys.operations import *
from alphatrader.contract.keys.options import *
from alphatrader.contract.keys.orders import *
from alphatrader.contract.keys.people import *
from alphatrader.contract.keys.positions import *
from alphatrader.contract.keys.risk import *
from alphatrader.contract.keys.signals import *

_FLOW: Final = (
    market,
    options,
    discovered,
    metrics,
    signals,
    risk,
    orders,
    positions,
    control,
    distribution,
    people,
    operations,
)
ALL: Final[list[Key[Any]]] = [key for step in _FLOW for key in vars(step).values() if isinstance(key, Key)]
"""In the order of the flow, and of the declarations in each file."""


def find(name: str) -> Key[Any] | None:
    """The declared key that a Redis name belongs to."""
    for key in ALL:
        if key.parse(name) is not None:
            return key
    return None
