"""What the terminal hears of turns that come late: the first at once, then a line for each half minute that had more."""

from __future__ import annotations

from typing import Final

SAY_NS: Final = 30_000_000_000


class Lateness:
    def __init__(self) -> None:
        self._turns, self._most = 0, 0.0
        self._said_ns: int | None = None

    def add(self, seconds: float, now_ns: int) -> str | None:
        """A turn that came so much late, at a machine instant; the line to say now, None where it waits for the next."""
        self._turns, self._most = self._turns + 1, max(self._most, seconds)
        said_ns = self._said_ns
        if said_ns is not None and 0 <= now_ns - said_ns < SAY_NS:
            return None
        text = f"gateway is {seconds:.1f} s late"
        if self._turns > 1 and said_ns is not None and now_ns > said_ns:
            text = f"gateway was late in {self._turns} turns of {(now_ns - said_ns) / 1e9:.0f} s, by {self._most:.1f} s at most"
        self._turns, self._most, self._said_ns = 0, 0.0, now_ns
        return f"{text}: quotes are conflated, prints are not"
