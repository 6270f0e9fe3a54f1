"""The ibkr module: the only writer of market data.

`ingestion.py` is its life: it connects the parts and runs their loops. `contracts.py` asks which contract each instrument is,
with the front months of futures; `lines.py` gives the account's subscriptions to who should have them and has them proven;
`answers.py` does what the broker's codes ask for; `publishing.py` writes what the feeds fold; `history.py` fetches their past;
`report.py` is the heartbeat.
"""

from alphatrader.streams.ibkr.ingestion import IBKRIngestion

__all__ = ["IBKRIngestion"]
