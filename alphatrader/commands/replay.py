"""`alphatrader replay LOG`: what was recorded, through the production code again, and whether it decides the same.

LOG is an audit folder, a folder that holds one (`data/sandbox`), or one `.audit` file. Without Redis, without a network. See
docs/replay.md. Exit codes: 0 everything is equal, byte for byte; 1 something differs, or the code asks for what was not
recorded; 2 it was used wrongly; 3 a part of the recording cannot be read, and what could be is equal.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any, Final

import msgspec

from alphatrader.commands import DONE, MISUSED, WRONG
from alphatrader.commands.access import Cell, print_json, say, show
from alphatrader.commands.control_request import WIRE_LOG
from alphatrader.commands.decisions import Decisions
from alphatrader.contract.modules import Module, parse_instance
from alphatrader.contract.settings import Settings
from alphatrader.roster import AlphaTrader
from alphatrader.runtime.audit_file import Kind, Record
from alphatrader.runtime.clock import EXCHANGE, SECOND, exchange_datetime, instant, monotonic
from alphatrader.runtime.module import StreamModule
from alphatrader.runtime.replay_difference import leaves_apart
from alphatrader.runtime.replay_tape import Begun, Outcome, Tape, begun
from alphatrader.runtime.replaying import replay_run
from alphatrader.runtime.runs import Log, Part, logs, look, runs_in
from alphatrader.runtime.settings import SettingsError, load

UNREADABLE: Final = 3
DECIDING: Final = ("market", "options", "discovery", "analytics", "strategies", "signals", "risk", "orders", "positions")
"""Sections of the settings that decide something; the others are addresses and habits."""
Pace = Callable[[int], Awaitable[None]]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", metavar="LOG", type=Path, help="an audit folder, a folder that holds one, or one .audit file")
    parser.add_argument("--speed", type=float, default=0.0, metavar="N", help="N times the pace it was recorded at (0: at once)")
    parser.add_argument(
        "--from",
        dest="begin",
        metavar="WHEN",
        type=when,
        help="not from the start, but from the newest place before this from which it can be run: ibkr's newest checkpoint, a"
        " decider's newest start (New York, YYYY-MM-DD HH:MM[:SS])",
    )
    parser.add_argument("--until", metavar="WHEN", type=when, help="to the last record at or before this")
    parser.add_argument("--list", action="store_true", help="only say what is recorded")
    parser.add_argument(
        "--settings",
        choices=("recorded", "present"),
        default="recorded",
        help="decide with the settings of then (the default) or of now",
    )


def when(text: str) -> int:
    """A market instant. Raises ValueError, which argparse tells."""
    form = "%Y-%m-%d %H:%M:%S" if text.count(":") > 1 else "%Y-%m-%d %H:%M"
    return instant(datetime.strptime(text, form).replace(tzinfo=EXCHANGE))


@dataclass(frozen=True)
class Asked:
    """How it is to be run."""

    present: Settings | None
    """The settings of now, where they can be read."""
    other: bool
    """Whether these decide."""
    pace: Pace | None
    begin: int | None
    until: int | None


@dataclass
class Report:
    """What is told at the end."""

    modules: list[Outcome] = field(default_factory=list)
    settings: list[tuple[str, Any, Any]] = field(default_factory=list)
    """(setting, then, now) of each that is another one now."""
    runs: int = 0
    not_read: list[str] = field(default_factory=list)
    wires: list[str] = field(default_factory=list)
    """Logs of a connection alone: there is nothing to run again."""

    def code(self) -> int:
        if any(outcome.first is not None for outcome in self.modules):
            return WRONG
        if self.not_read or any(outcome.holes or outcome.unread for outcome in self.modules) or not (self.runs or self.wires):
            return UNREADABLE
        return DONE


def run(args: argparse.Namespace) -> int:
    if args.speed < 0:
        return _misused("--speed is a factor: 1 is the pace it was recorded at")
    try:
        found = logs(args.log)
    except (OSError, ValueError) as error:
        return _misused(str(error))
    if args.list:
        return _list(found, as_json=args.json)
    try:
        present: Settings | None = load()
    except SettingsError:
        present = None
    if args.settings == "present" and present is None:
        return _misused("--settings present: the present settings cannot be read; see `alphatrader doctor`")
    if args.begin is not None and args.until is not None and args.until < args.begin:
        return _misused("--until is before --from")
    report, decisions = Report(), Decisions(None if args.json or not args.speed else say)
    asked = Asked(present, args.settings == "present", _pace(args.speed), args.begin, args.until)
    asyncio.run(_replay(found, report, decisions, asked))
    if args.json:
        print_json(
            {
                "equal": report.code() == DONE,
                "runs": report.runs,
                "modules": [asdict(outcome) for outcome in report.modules],
                "settings": report.settings,
                "not_read": report.not_read,
                "wires": report.wires,
                "decisions": [asdict(decision) for decision in decisions.in_order()],
            }
        )
    else:
        _show(report, decisions, told=bool(args.speed))
    return report.code()


def _misused(why: str) -> int:
    sys.stderr.write(f"alphatrader replay: {why}\n")
    return MISUSED


# -- running -----------------------------------------------------------------------------------------------------------------


async def _replay(found: list[Log], report: Report, decisions: Decisions, asked: Asked) -> None:
    await asyncio.gather(*(_replay_log(log, report, decisions, asked) for log in found))
    report.modules.sort(key=lambda outcome: (list(Module).index(parse_instance(outcome.module)[0]), outcome.module))


async def _replay_log(log: Log, report: Report, decisions: Decisions, asked: Asked) -> None:
    kind = _module(log.name)
    if log.name == WIRE_LOG or (kind is not None and kind.wire_logged):
        report.wires.append(log.name)
        report.not_read += (f"{path.name}: {hole}" for path, why, _ in log.joints() for hole in look(path, why).holes)
        return
    if kind is None:
        unread = [record.data.decode() for record in islice(log.records(), 1) if record.kind is Kind.HOLE]
        report.not_read += unread or [f"{log.name}: no module of this name is recorded"]
        return
    outcome = Outcome(log.name)
    report.modules.append(outcome)
    from_, checkpoint = _from(log, kind, asked.begin, outcome)
    for first, records in runs_in(_until(from_, asked.until)):
        start = _begun(log, first, records, report)
        if start is None:
            continue
        report.runs += 1
        _compare_settings(report, start, asked.present)
        if kind.replay is not None:
            await kind.replay(start, records, outcome, asked.pace, checkpoint)
            checkpoint = None  # the processes that follow are run from their start
            continue
        tape = Tape(records, outcome)
        tape.pace = asked.pace
        tape.on_write = decisions.take
        await replay_run(kind, start, tape, asked.present if asked.other else None)


def _from(log: Log, kind: type[StreamModule], begin: int | None, outcome: Outcome) -> tuple[Iterator[Record], Any]:
    """(records from where it is to be run, the checkpoint that they follow); says in the outcome where that is."""
    if begin is None:
        return log.records(), None
    if kind.starts is None:
        for record, rest in log.back_from(begin, {Kind.BEGUN}):
            outcome.begins = f"at the start of {exchange_datetime(record.market_ns):%Y-%m-%d %H:%M:%S} ET"
            return chain((record,), rest), None
        return log.records(), None
    refused: list[str] = []
    for start in kind.starts(log, begin, {}, refused):
        at = f"{exchange_datetime(start.first.market_ns):%Y-%m-%d %H:%M:%S} ET"
        outcome.begins = f"at the checkpoint of {at}: events alone are compared" if start.checkpoint else f"at the start of {at}"
        outcome.begins += "".join(f"; passed over {word}" for word in refused)
        return chain((start.first,), start.records), start.checkpoint
    return log.records(), None


def _until(records: Iterator[Record], until: int | None) -> Iterator[Record]:
    return records if until is None else takewhile(lambda record: record.market_ns <= until, records)


def _module(name: str) -> type[StreamModule] | None:
    """The recorded module of this name."""
    try:
        package, _, target = AlphaTrader.line(parse_instance(name)[0]).target.partition(":")
    except (KeyError, ValueError):
        return None
    found = getattr(importlib.import_module(package), target, None)
    if not isinstance(found, type) or not issubclass(found, StreamModule):
        return None
    return found if found.recorded or found.wire_logged or found.replay is not None else None


def _begun(log: Log, first: Record | None, records: Iterator[Record], report: Report) -> Begun | None:
    why = f"{log.name}: the beginning of a run is not there any more"
    if first is not None:
        try:
            return begun(first)
        except ValueError as error:
            why = f"{log.name}, begun {exchange_datetime(first.market_ns):%Y-%m-%d %H:%M:%S} ET: {error}"
    turns = 0
    for record in records:
        turns += record.kind is Kind.TURN
        if record.kind is Kind.HOLE:
            report.not_read.append(record.data.decode())
    if turns or first is not None:
        report.not_read.append(why + (f"; {turns} turns were passed over" if turns else ""))
    return None


def _compare_settings(report: Report, start: Begun, present: Settings | None) -> None:
    if present is None:
        return
    then, now = ({name: msgspec.to_builtins(getattr(of, name)) for name in DECIDING} for of in (start.settings, present))
    for difference in leaves_apart(then, now):
        if difference not in report.settings:
            report.settings.append(difference)


def _pace(speed: float) -> Pace | None:
    if not speed:
        return None
    started: list[tuple[float, int]] = []

    async def wait(machine_ns: int) -> None:
        if not started:
            started.append((monotonic(), machine_ns))
        began, first_ns = started[0]
        await asyncio.sleep(max(0.0, began + (machine_ns - first_ns) / SECOND / speed - monotonic()))

    return wait


# -- telling -----------------------------------------------------------------------------------------------------------------


def _show(report: Report, decisions: Decisions, *, told: bool) -> None:
    if not told:
        for decision in decisions.in_order():
            say(str(decision))
    rows: list[tuple[Cell, ...]] = []
    for outcome in report.modules:
        verdict = ("equal", "green") if outcome.first is None else ("DIFFERENT", "red")
        if not outcome.turns:
            verdict = ("not run", "yellow")
        numbers = (outcome.turns, outcome.equal, outcome.different, outcome.unread, outcome.writes)
        rows.append((outcome.module, verdict, *map(str, numbers), outcome.ends if outcome.turns else "-"))
    show("Module", "", "Turns", "Equal", "Different", "Not run", "Writes", "The recording ends", rows=rows)
    for outcome in report.modules:
        if outcome.begins != Outcome.begins:
            say(f"{outcome.module}: run from another place than its start: {outcome.begins}")
        for hole in outcome.holes:
            say(f"{outcome.module}: HOLE: {hole}")
        if (first := outcome.first) is not None:
            at = exchange_datetime(first.market_ns)
            say(f"\n{outcome.module}: the first difference, turn {first.turn}, {at:%H:%M:%S.%f} ET")
            say(f"  {first.what}")
            for name, then, now in first.fields:
                say(f"    {name or 'content'}\n      then {then}\n      now  {now}")
    for name in report.wires:
        say(f"{name}: raw messages of its connection; what it decides is not run again")
    for line in report.not_read:
        say(f"NOT READ: {line}")
    for name, then, now in report.settings:
        say(f"Setting {name}: {then!r} then, {now!r} now")


def _list(found: list[Log], *, as_json: bool) -> int:
    parts = [look(path, why) for log in found for path, why, _ in log.joints()]
    if as_json:
        print_json([asdict(part) | {"path": str(part.path)} for part in parts])
    else:
        show("File", "From", "To", "Blocks", "Records", "MB", "Holes", rows=[_row(part) for part in parts])
    return UNREADABLE if any(part.holes for part in parts) else DONE


def _row(part: Part) -> tuple[str, ...]:
    at = [f"{exchange_datetime(ns):%Y-%m-%d %H:%M:%S}" if ns else "-" for ns in (part.first_ns, part.last_ns)]
    return part.path.name, *at, str(part.blocks), str(part.records), f"{part.bytes / 1e6:.1f}", "; ".join(part.holes) or "none"
