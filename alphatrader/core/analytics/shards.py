"""Which symbols a shard of analytics owns."""

from __future__ import annotations


def select(symbols: tuple[str, ...], shard: int, count: int) -> tuple[str, ...]:
    """Every count-th symbol, from the shard's own (from 1) on: the busiest, which are named first, spread over the shards.

    Raises ValueError for a shard that is not among `count`.
    """
    if not 1 <= shard <= count:
        raise ValueError(f"analytics.shards is {count}: there is no shard {shard}")
    return symbols[shard - 1 :: count]
