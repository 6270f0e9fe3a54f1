"""The one checker of what must always hold: it reads what happened from the stand-ins' own logs and from the ledgers.

`evidence.py` gathers, `orders.py`, `people.py` and `state.py` judge, `check()` runs every judge and returns what was violated. It
runs after every flow test and every soak; `test_invariants.py` shows that each judge can fail.
"""

from __future__ import annotations

from tests.invariants.evidence import Evidence
from tests.invariants.orders import ORDER_JUDGES
from tests.invariants.people import PEOPLE_JUDGES
from tests.invariants.state import STATE_JUDGES

JUDGES = {**ORDER_JUDGES, **STATE_JUDGES, **PEOPLE_JUDGES}


def check(evidence: Evidence) -> dict[str, list[str]]:
    """Invariant -> its violations, in words; an empty list where it held."""
    return {name: judge(evidence) for name, judge in JUDGES.items()}


def violations(evidence: Evidence) -> list[str]:
    return [f"{name}: {what}" for name, found in check(evidence).items() for what in found]
