"""How the simulation draws chance: every number is a function of the seed and of a name, never of what was drawn before.

So a restart at any later instant finds the same market. Used by every other file of this folder; reads and writes nothing.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

MASK64 = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def key64(*parts: object) -> int:
    """A 64-bit number from a name; slow (about 1 us), for what is drawn once a day or once a contract."""
    text = "|".join(map(str, parts)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def generator(*parts: object) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(key64(*parts)))


def mix(base: int, n: int) -> int:
    """A 64-bit number from a base and a counter (splitmix64); fast, for what is drawn all the time."""
    z = (base + n * _GOLDEN) & MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def unit(base: int, n: int = 0) -> float:
    """A number in [0, 1) from a base and a counter."""
    return mix(base, n) / (MASK64 + 1)
