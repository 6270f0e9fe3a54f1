"""What a judge says: how much it judged, clause by clause, and what was broken. A judge without evidence says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from alphatrader.runtime.clock import exchange_datetime
from tests.invariants.evidence import Evidence, Line


@dataclass
class Verdict:
    clauses: tuple[str, ...]
    judged: Counter[str] = field(default_factory=Counter)
    """Clause -> how many cases were looked at."""
    broken: list[str] = field(default_factory=list)

    def holds(self, clause: str, truth: bool, words: str, at: Line | None = None) -> bool:
        """One case of a clause; `words` say what is wrong where it does not hold, `at` is the line that shows it."""
        if clause not in self.clauses:
            raise KeyError(f"{clause!r} is none of {self.clauses}")
        self.judged[clause] += 1
        if not truth:
            self.broken.append(f"{clause}: {words}{_place(at)}")
        return truth

    @property
    def outcome(self) -> Literal["held", "broken", "nothing to judge"]:
        if self.broken:
            return "broken"
        return "held" if self.judged else "nothing to judge"

    @property
    def counted(self) -> str:
        """How much each clause judged, in words; a clause with nothing says 0."""
        return ", ".join(f"{clause} {self.judged[clause]}" for clause in self.clauses)


def _place(at: Line | None) -> str:
    return f" (at {exchange_datetime(at['market_ns']):%H:%M:%S.%f} New York, machine {at['machine_ns']})" if at else ""


@dataclass(frozen=True)
class Judge:
    name: str
    clauses: tuple[str, ...]
    run: Callable[[Evidence, Verdict], None]

    def verdict(self, evidence: Evidence) -> Verdict:
        verdict = Verdict(self.clauses)
        self.run(evidence, verdict)
        return verdict


JUDGES: dict[str, Judge] = {}
"""Every judge by its name, in the order of the invariants once all files are imported."""


def judge(name: str, *clauses: str) -> Callable[[Callable[[Evidence, Verdict], None]], Judge]:
    """Registers a judge with the clauses it looks at."""

    def register(run: Callable[[Evidence, Verdict], None]) -> Judge:
        JUDGES[name] = Judge(name, clauses, run)
        return JUDGES[name]

    return register
