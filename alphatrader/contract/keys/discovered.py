"""Parameters measured from recorded sessions. Written by discovery."""

from __future__ import annotations

from typing import Any, Final

from alphatrader.contract.keys.declaring import DATA, DAY, STATE, STREAM, VALUE, declare
from alphatrader.contract.messages import metrics as a
from alphatrader.contract.modules import Module as M

_FOUND = (M.ANALYTICS,)
_DISCOVERED: Final[dict[str, Any]] = {"server": DATA, "ttl": DAY, "plan": True}
DISCOVERED_VPIN_BUCKET_SIZE = declare(
    "discovered:vpin_bucket_size", VALUE, a.Discovered, M.DISCOVERY, _FOUND, "Shares in a VPIN bucket", **_DISCOVERED
)
DISCOVERED_LOOKBACK_BARS = declare(
    "discovered:lookback_bars", VALUE, a.Discovered, M.DISCOVERY, _FOUND, "Bars that still carry information", **_DISCOVERED
)
DISCOVERED_MM_PROFILES = declare(
    "discovered:mm_profiles", VALUE, a.Discovered, M.DISCOVERY, _FOUND, "Displayed interest by market maker", **_DISCOVERED
)
DISCOVERED_VOL_REGIMES = declare(
    "discovered:vol_regimes", VALUE, a.Discovered, M.DISCOVERY, _FOUND, "Volatility states and their bounds", **_DISCOVERED
)
DISCOVERED_CORRELATION_MATRIX = declare(
    "discovered:correlation_matrix", VALUE, a.Correlation, M.DISCOVERY, (M.RISK,), "Return correlations, shrunk", **_DISCOVERED
)
DISCOVERED_CANDIDATES = declare(
    "discovered:candidates",
    VALUE,
    a.Candidates,
    M.DISCOVERY,
    (M.WATCHDOG,),
    "Values that jumped, waiting for a second night or a person's yes",
    server=DATA,
)
DISCOVERED_PROGRESS = declare(
    "discovered:progress", VALUE, a.DiscoveryProgress, M.DISCOVERY, (M.WATCHDOG,), "How far a running discovery is", server=DATA
)
DISCOVERY_REQUESTS = declare(
    "discovery:requests",
    STREAM,
    a.DiscoveryRequest,
    M.CLI,
    (M.DISCOVERY,),
    "`alphatrader discover`: run now, or accept what waits",
    server=STATE,
    maxlen=1_000,
)
