"""The morning note, the day's routines, and how the modules and servers are."""

from __future__ import annotations

from typing import Any, Final

from alphatrader.contract.key import SELF
from alphatrader.contract.keys.declaring import DATA, DAY, HASH, STATE, VALUE, declare
from alphatrader.contract.messages import distribution as d
from alphatrader.contract.messages import operations as ops
from alphatrader.contract.modules import Module as M

_NOTE: Final[dict[str, Any]] = {"server": DATA, "ttl": DAY, "plan": True}
ANALYSIS_FULL = declare(
    "analysis:morning:full", VALUE, d.Analysis, M.ROUTINES, (M.DELIVERY, M.PAGES), "The morning note", **_NOTE
)
ANALYSIS_PREVIEW = declare(
    "analysis:morning:preview", VALUE, d.Analysis, M.ROUTINES, (M.DELIVERY, M.PAGES), "Its first lines", **_NOTE
)
DASHBOARD_ANALYSIS = declare(
    "dashboard:morning_analysis", VALUE, d.Analysis, M.ROUTINES, (M.DASHBOARD,), "The note as the dashboard shows it", **_NOTE
)
LEDGER_ROUTINES = declare(
    "ledger:routines", HASH, ops.RoutineRun, M.ROUTINES, (M.WATCHDOG,), "`{routine}|{session}`: each once a session", server=STATE
)
REDELIVERED = declare(
    "redelivered:{module}",
    HASH,
    ops.Redelivered,
    SELF,
    (),
    "Id -> a task that was begun anew because its worker ended within it: the third time it is given up",
    server=STATE,
    ttl=DAY,
)
HEALTH = declare("health:{module}", VALUE, ops.Health, SELF, (M.WATCHDOG, M.CLI), "A module's heartbeat", server=STATE, ttl=15.0)
OBSERVED = declare(
    "observed:watchdog", VALUE, ops.Observed, M.WATCHDOG, (M.CLI,), "What the watchdog saw from outside", server=STATE, ttl=15.0
)
AUDIT_INDEX_OF = declare(
    "audit:index:{module}",
    VALUE,
    ops.AuditEntry,
    SELF,
    (),
    "Where the newest raw messages of a connection for orders stand in that module's log on disk",
    server=STATE,
    ttl=300.0,
)
LOCK = declare("lock:{module}", VALUE, ops.Lock, SELF, (M.WATCHDOG,), "Held by the one running instance", server=STATE, ttl=5.0)
FENCE = declare("fence:{module}", VALUE, int, SELF, (), "Counts the holders of the lock", server=STATE)
CURSOR = declare("cursor:{module}", HASH, str, SELF, (), "Stream -> the last entry this module has booked", server=STATE)
STAMP_DATA = declare("server:data:stamp", VALUE, ops.Stamp, M.REDIS, tuple(M), "The mode this server belongs to", server=DATA)
STAMP_STATE = declare("server:state:stamp", VALUE, ops.Stamp, M.STATE, tuple(M), "The mode this server belongs to", server=STATE)
