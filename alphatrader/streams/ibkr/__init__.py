"""The ibkr module: the only writer of market data.

`ingestion.py` is its life: the connection, what the broker says of the link, and contracts; `lines.py` gives the account's
subscriptions to who should have them, `publishing.py` writes what the feeds fold, `history.py` fetches their past.
"""

from alphatrader.streams.ibkr.ingestion import IBKRIngestion

__all__ = ["IBKRIngestion"]
