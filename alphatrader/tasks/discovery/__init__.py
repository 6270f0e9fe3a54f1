"""`ParameterDiscovery`: the five `discovered:*` keys, on the discovery worker.

`schedule.py` holds the Celery tasks and wakes them for requests; `runner.py` is one run, from what was recorded to keys, file and
report; `source.py` is what it computes from, `recorded.py` reads the audit log; `kept.py` is what stays on disk; `report.py` says
in plain words what changed and why. Heavy packages are imported only inside a run.
"""

from alphatrader.tasks.discovery import schedule
from alphatrader.tasks.discovery.runner import ParameterDiscovery

__all__ = ["ParameterDiscovery", "schedule"]
