"""The execution module: the only one that sends orders.

`manager.py` is its life; `openings.py` and `exits.py` decide with `core/orders` and act through `desk.py`, which holds
the book and writes it.
"""

from alphatrader.streams.execution.manager import ExecutionManager

__all__ = ["ExecutionManager"]
