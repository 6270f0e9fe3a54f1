"""Alpha Vantage: option chains and news over HTTP, every refusal a typed error.

Used by alphatrader/tasks/alphavantage.
"""

from alphatrader.clients.alphavantage.answers import ChainAnswer, NewsAnswer, Story
from alphatrader.clients.alphavantage.client import AlphaVantage
from alphatrader.clients.alphavantage.errors import AlphaVantageError, BadAnswerError, LimitedError, OutageError, RefusedError

__all__ = [
    "AlphaVantage",
    "AlphaVantageError",
    "BadAnswerError",
    "ChainAnswer",
    "LimitedError",
    "NewsAnswer",
    "OutageError",
    "RefusedError",
    "Story",
]
