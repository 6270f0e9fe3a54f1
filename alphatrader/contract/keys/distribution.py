"""The tiers' queues and what was delivered. Written by distribution and delivery."""

from __future__ import annotations

from typing import Any, Final

from alphatrader.contract.keys.declaring import DAY, HASH, QUEUE, STATE, VALUE, declare
from alphatrader.contract.messages import distribution as d
from alphatrader.contract.messages import signals as s
from alphatrader.contract.modules import Module as M

_QUEUE: Final[dict[str, Any]] = {"server": STATE, "takers": (M.DELIVERY,), "plan": True}
PREMIUM_QUEUE = declare("distribution:premium:queue", QUEUE, d.Delivery, M.DISTRIBUTION, (M.WATCHDOG,), "Due at once", **_QUEUE)
BASIC_QUEUE = declare("distribution:basic:queue", QUEUE, d.Delivery, M.DISTRIBUTION, (M.WATCHDOG,), "Due 60 s later", **_QUEUE)
FREE_QUEUE = declare(
    "distribution:free:queue",
    QUEUE,
    d.Delivery,
    M.DISTRIBUTION,
    (M.WATCHDOG,),
    "Due 300 s later, 3 a day",
    server=STATE,
    takers=(M.DELIVERY,),
)
TELEGRAM_SIGNALS_QUEUE = declare(
    "telegram:signals:{symbol}:queue",
    QUEUE,
    d.Delivery,
    M.DISTRIBUTION,
    (M.WATCHDOG,),
    "Signals for Telegram, by due time",
    **_QUEUE,
)
TELEGRAM_ANALYSIS_QUEUE = declare(
    "telegram:analysis:queue", QUEUE, d.Delivery, M.ROUTINES, (M.WATCHDOG,), "Morning notes for Telegram", **_QUEUE
)
DISTRIBUTION_COUNT = declare(
    "distribution:signals:count",
    VALUE,
    s.SignalCount,
    M.DISTRIBUTION,
    (M.ROUTINES, M.WATCHDOG),
    "Signals distributed in the session",
    server=STATE,
    plan=True,
)
LEDGER_DELIVERY = declare(
    "ledger:delivery",
    HASH,
    d.DeliveryRecord,
    M.DELIVERY,
    (M.DISTRIBUTION, M.WATCHDOG),
    "`{delivery}|{recipient}` -> how it ended: at most one message each",
    server=STATE,
)
TWEET = declare("twitter:tweet:{id}", VALUE, d.Tweet, M.DELIVERY, (), "A tweet we posted", server=STATE, ttl=DAY, plan=True)
POSTED_SIGNALS = declare(
    "twitter:posted_signals",
    HASH,
    d.Tweet,
    M.DELIVERY,
    (),
    "What was tweeted, by trade or signal: never twice",
    server=STATE,
    plan=True,
)
