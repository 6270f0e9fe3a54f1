"""Each clause of each judge can fail: a good story passes all of them, and the same story with one thing wrong is caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphatrader.runtime.clock import SECOND
from alphatrader.runtime.settings import ROOT
from tests.invariants import ELSEWHERE, JUDGES, TRADED, check, violations
from tests.invariants.clean import MACHINE, clean, filled
from tests.invariants.evidence import Evidence
from tests.invariants.gather import leases
from tests.invariants.wrongs import (
    CASES,
    Wrong,
    entries,
    flattening,
    halt,
    insert,
    losses,
    naked_from,
    part_for_sale,
    told_of_limbo,
)


def test_a_good_story_violates_nothing_and_every_judge_of_trading_judged_something() -> None:
    assert violations(clean(), need=TRADED) == []


def test_a_judge_without_evidence_says_so() -> None:
    nothing = Evidence(wire=[], vendors=[])
    assert {verdict.outcome for verdict in check(nothing).values()} == {"nothing to judge"}
    assert violations(nothing, need=["I13 protected"]) == ["I13 protected: nothing to judge"]


@pytest.mark.parametrize(("judge", "clause", "wrong"), CASES, ids=[f"{case[0]}: {case[1]}" for case in CASES])
def test_one_thing_wrong_is_caught_by_its_clause(judge: str, clause: str, wrong: Wrong) -> None:
    evidence = clean()
    wrong(evidence)
    broken = JUDGES[judge].verdict(evidence).broken
    assert any(what.startswith(f"{clause}: ") for what in broken), f"unnoticed; found was {broken}"


@pytest.mark.parametrize("kind", ["servers' logs", "journals", "wire logs"])
def test_a_secret_in_a_file_is_found_also_across_the_pieces_it_is_read_in(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "appendonly.aof"
    path.write_bytes(b"x" * ((1 << 20) - 5) + b"canary-" + b"nothing")
    evidence = clean()
    evidence.haystacks = {kind: [path]}
    assert JUDGES["I23 no secret"].verdict(evidence).broken == []
    path.write_bytes(b"x" * ((1 << 20) - 5) + b"canary-secret" + b"x")
    assert JUDGES["I23 no secret"].verdict(evidence).broken == [f"{kind}: a secret stands in appendonly.aof"]


def test_every_clause_is_shown_to_fail() -> None:
    shown = {(judge, clause) for judge, clause, _ in CASES} | {
        ("I23 no secret", k) for k in ("servers' logs", "journals", "wire logs")
    }
    assert shown == {(judge.name, clause) for judge in JUDGES.values() for clause in judge.clauses}


def test_what_is_excused_is_excused() -> None:
    """Negative controls: near the bound, told to the operator, or not ours."""
    excused: list[tuple[str, Wrong]] = [
        ("I13 protected", naked_from(20, 21.9)),
        ("I13 protected", part_for_sale("")),  # beside a stop for the rest
        ("I5 every order ends", told_of_limbo),
        ("I19 told once", told_of_limbo),  # an alarm names the order
        ("disclaimer", told_of_limbo),
        ("I8 exits are free", flattening(cancelled=True, flat=True)),
        ("I16 halt obeyed", lambda e: halt(e, 0.7)),
        ("I17 limits latch", losses(2, 10, then=True, halted=False)),
        ("I2 position limits", entries(1, "SPY")),
        ("I14 never reversed", insert(filled(200, "h.1.01", "", side="SLD", shares=2, position=0))),
    ]
    for judge, nearly in excused:
        evidence = clean()
        nearly(evidence)
        if judge == "I14 never reversed":  # the stop of what was sold by hand goes within its 5 s
            evidence.wire = [line for line in evidence.wire if line["machine_ns"] < MACHINE + 202 * SECOND]
        assert JUDGES[judge].verdict(evidence).broken == [], judge


def test_leases_are_read_from_the_servers_own_log(tmp_path: Path) -> None:
    body = b'{"granted":true,"reason":null,"halt_epoch":4,"machine_ns":5,"fence":1}'
    command = b"*5\r\n$3\r\nSET\r\n$5\r\nlease\r\n$%d\r\n%s\r\n$4\r\nPXAT\r\n$13\r\n1795829817341\r\n" % (len(body), body)
    (tmp_path / "appendonly.aof.1.incr.aof").write_bytes(b"*1\r\n$5\r\nMULTI\r\n" + command * 2)
    assert [(lease.granted, lease.halt_epoch, lease.machine_ns) for lease in leases(tmp_path)] == [(True, 4, 5)] * 2


def test_what_no_log_shows_is_held_by_a_test_that_exists() -> None:
    assert all((ROOT / path).is_file() for path in ELSEWHERE.values())
    numbers = {name.split()[0] for name in (*JUDGES, *ELSEWHERE)} - {"disclaimer"}
    assert numbers == {f"I{n}" for n in range(1, 27)}
