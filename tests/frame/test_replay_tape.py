"""The tape of a recorded decider: what stands behind a hole is never taken for what stood before it."""

from __future__ import annotations

import msgspec
import pytest

from alphatrader.runtime.audit_file import Kind, Record
from alphatrader.runtime.replay_tape import EndedError, Outcome, Tape


def turn(*notes: object) -> Record:
    return Record(Kind.TURN, 1, 1, msgspec.msgpack.encode([["turn"], *notes]))


def asked(name: str) -> list[object]:
    return ["asked", ["XREAD", name], b"reply"]


def test_a_tape_that_met_a_hole_has_ended_however_often_it_is_asked() -> None:
    outcome = Outcome("signals")
    tape = Tape([turn(asked("a")), Record(Kind.HOLE, 1, 1, b"block 3 is wrong"), turn(asked("b")), turn(asked("c"))], outcome)
    tape.turn()
    # the reply before the hole is looked past, for a word that its command was lost
    assert tape.reply(["XREAD", "a"]) == b"reply"
    for _ in range(2):
        with pytest.raises(EndedError):
            tape.turn()
    tape.end()
    tape.count_unread()
    assert (outcome.ends, outcome.holes, outcome.first) == ("at a hole", ["block 3 is wrong"], None)
    assert (outcome.turns, outcome.equal, outcome.unread) == (1, 1, 2)
