"""Alpha Vantage on the pulls worker: `chains.py` holds `AlphaVantageIngestion`, `news.py` `SentimentIngestion`, both through the
process's one client (`vendor.py`): one session, one circuit breaker, one last guard.
"""

from alphatrader.tasks.alphavantage.chains import AlphaVantageIngestion
from alphatrader.tasks.alphavantage.news import SentimentIngestion

__all__ = ["AlphaVantageIngestion", "SentimentIngestion"]
