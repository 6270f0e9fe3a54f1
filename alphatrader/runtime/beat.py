"""Beat's scheduler: redbeat's, which keeps in Redis when each task was last sent, and lets one beat work at a time.

Redbeat looks at what is due and at nothing else: after a clock was set back by an hour no task would be sent for an hour.
What was last sent after now was sent now.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from redbeat.schedulers import RedBeatScheduler

BACK: Final = timedelta(seconds=1)


class Scheduler(RedBeatScheduler):  # type: ignore[misc]
    _looked_at: datetime | None = None

    def setup_schedule(self) -> None:
        super().setup_schedule()
        self._not_ahead()

    def tick(self, min: Callable[..., float] = min, **kwargs: Any) -> float:
        before, self._looked_at = self._looked_at, self.app.now()
        if before is not None and self._looked_at < before - BACK:
            self._not_ahead()
        seconds: float = super().tick(min, **kwargs)
        return seconds

    def _not_ahead(self) -> None:
        now = self.app.now()
        for name in self.app.redbeat_conf.schedule:
            entry = self.Entry.from_key(self.Entry.generate_key(self.app, name), app=self.app)
            if entry.last_run_at is not None and entry.last_run_at > now + BACK:
                entry.reschedule(now)
