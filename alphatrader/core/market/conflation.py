"""Many changes, few events: of what changes faster than anyone reads it, the newest state is told, at most once an interval.

Used by `SymbolFeed` for quotes and books and by `MakerBook`. `now`: monotonic seconds.
"""

from __future__ import annotations


class Conflation:
    def __init__(self, seconds: float) -> None:
        """`seconds`: the least between two events."""
        self.seconds = seconds
        self.changes = 0
        """Since the last event."""
        self.unseen = 0
        """Changes, over all, that no event showed: newer ones had come."""
        self.told_at = float("-inf")

    def due(self, now: float) -> bool:
        return self.changes > 0 and now - self.told_at >= self.seconds

    def take(self, now: float) -> int:
        """An event tells the newest state now; how many changes since the last one it does not show."""
        unseen = max(0, self.changes - 1)
        self.unseen += unseen
        self.changes, self.told_at = 0, now
        return unseen
