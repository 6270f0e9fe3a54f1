"""Which symbols a shard of analytics owns: `ALPHATRADER_SHARD` is `i/n`, i from 0."""

from __future__ import annotations

import re
from typing import Final

_FORM: Final = re.compile(r"(\d{1,2})/(\d{1,2})\Z")


class ShardError(ValueError):
    """A shard's name that selects nothing."""


def parse(text: str) -> tuple[int, int]:
    """`i/n` as numbers; empty is the only shard. Raises ShardError."""
    if not text:
        return 0, 1
    match = _FORM.match(text)
    if not match or not 0 <= int(match[1]) < int(match[2]) <= 16:
        raise ShardError(f"ALPHATRADER_SHARD: {text!r} is not i/n with 0 <= i < n <= 16")
    return int(match[1]), int(match[2])


def select(symbols: tuple[str, ...], index: int, count: int) -> tuple[str, ...]:
    """Every count-th symbol from `index` on: the busiest, which are named first, spread over the shards."""
    return symbols[index::count]
