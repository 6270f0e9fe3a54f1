"""The one checker of what must always hold: it reads what happened from the stand-ins' own logs and from the ledgers.

`gather.py` gathers the evidence, one file a theme judges it, `check()` runs every judge. It runs after every flow test and every
soak; `python -m tests.invariants` runs it on a running system's data folder. Each judge says how much it judged: one without
evidence says "nothing to judge", and a run that must have had the evidence names it (`need`).
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.invariants import account, books, halts, openings, people, protection, servers
from tests.invariants.evidence import Evidence
from tests.invariants.verdict import JUDGES, Verdict

ELSEWHERE = {
    "I20 access is Stripe's": "tests/web/test_pages_webhook.py",
    "I21 any order of events": "tests/web/test_pages_webhook.py",
    "I22 told within 30 s": "tests/streams/test_watchdog.py",
    "I24 dashboard's doors": "tests/web/test_dashboard_access.py",
    "I26 replay": "tests/flow/test_replay.py",
}
"""Invariants that no log of a run can show -> what holds them."""
TRADED = (
    "I1 approved first",
    "I2 position limits",
    "I3 one order an intent",
    "I4 unknown blocks",
    "I5 every order ends",
    "I6 hard limits",
    "I7 in session",
    "I8 exits are free",
    "I10 executions once",
    "I13 protected",
    "I14 never reversed",
    "I18 never early",
    "I19 told once",
    "disclaimer",
    "I12 lifetimes",
    "I23 no secret",
    "I25 own users",
)
"""Those that must have had something to judge wherever a signal became a position."""


def check(evidence: Evidence) -> dict[str, Verdict]:
    """Judge -> its verdict, in the order of the invariants."""
    ordered = sorted(JUDGES.values(), key=lambda judge: int(judge.name.split()[0][1:]) if judge.name[0] == "I" else 99)
    return {judge.name: judge.verdict(evidence) for judge in ordered}


def violations(evidence: Evidence, need: Iterable[str] = ()) -> list[str]:
    """What was broken; and of `need`, what had nothing to judge."""
    verdicts = check(evidence)
    found = [f"{name}: {what}" for name, verdict in verdicts.items() for what in verdict.broken]
    return found + [f"{name}: nothing to judge" for name in need if verdicts[name].outcome == "nothing to judge"]


__all__ = [
    "ELSEWHERE",
    "JUDGES",
    "TRADED",
    "account",
    "books",
    "check",
    "halts",
    "openings",
    "people",
    "protection",
    "servers",
    "violations",
]
