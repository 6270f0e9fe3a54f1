"""The risk module: the only one that permits trading.

`manager.py` is its life, its verdicts and the lease; `measures.py` says how much the book as a whole could lose and how alike its
positions are.
"""

from alphatrader.streams.risk.manager import RiskManager

__all__ = ["RiskManager"]
