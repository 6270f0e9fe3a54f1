"""Recorded sessions that the gateway plays again over its socket: a LOBSTER sample, or an audit log of the product's own.

| File | What it holds |
|---|---|
| `pace.py` | when each recorded event is due: at its own pace, faster, or step by step |
| `lobster.py` | reads LOBSTER's message and order-book files |
| `replayed.py` | a market in which one symbol is that recording and all else is the market behind it |
| `audit.py` | an audit log's market data, told again to whoever subscribes to the same contracts |

`docs/replay.md` says how to start one. Made by `sandbox/main.py` from the settings under `sandbox.replay`.
"""
