"""How `halt`, `resume` and `flatten` ask, and how they know that they were heard.

First `control:cli`, which risk, execution and emergency obey at once; done when `global:halt` says so. Where that fails,
emergency's own door on loopback; for flattening at last the gateway itself. Each step says what it did.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from alphatrader.commands import DONE, UNREACHABLE, WRONG
from alphatrader.commands.access import Access, open_access, print_json, say
from alphatrader.contract import keys as k
from alphatrader.contract.messages.risk import ControlRequest, Halt, HaltEvent
from alphatrader.contract.modules import Module
from alphatrader.runtime import emergency_socket, halt_file
from alphatrader.runtime.audit import AuditLog
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.store import Store, StoreError

Kind = Literal["halt", "resume", "flatten"]
WIRE_LOG: Final = "flatten"
"""Name of the audit log of `flatten` where it goes to the gateway itself."""
CONFIRM_SECONDS: Final = 5.0
_SAME_STATE_SECONDS: Final = 1.0
"""Emergency may leave a halt that stands as it is: after this, the wanted state is confirmation enough."""
_TIMEOUT_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.2
_BY_HAND: Final = "close by hand in TWS or through the broker's desk"
_WANTED: Final[dict[str, Callable[[Halt | HaltEvent], bool]]] = {
    "halt": lambda halt: halt.halted,
    "resume": lambda halt: not halt.halted,
    "flatten": lambda halt: halt.halted and halt.flatten,
}


@dataclass(frozen=True)
class Outcome:
    kind: Kind
    confirmed: bool
    way: Literal["redis", "door", "gateway"]
    epoch: int | None
    detail: str
    code: int


@dataclass(frozen=True)
class Unheard:
    """Why asking through Redis was not enough."""

    reason: str
    written: bool
    """Whether the request stands in the stream: who reads it obeys."""

    def __str__(self) -> str:
        return self.reason


def common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", default="", help="why, for the record")


def request(kind: Kind, reason: str) -> Outcome:
    """Asks by the first way that answers."""
    access = open_access(Module.CLI)
    by = f"{getpass.getuser()} on the command line"
    reason = reason or f"alphatrader {kind}"
    told = _through_redis(access, kind, by, reason)
    if isinstance(told, Outcome):
        return told
    sys.stderr.write(f"alphatrader {kind}: {told}; asking emergency at its own door\n")
    through_door = _through_door(access, kind, by, reason)
    if isinstance(through_door, Outcome):
        return through_door
    sys.stderr.write(f"alphatrader {kind}: {through_door}\n")
    if kind == "flatten":
        return _at_the_gateway(access)
    if told.written:
        what = "; risk and execution obey the request itself, but nobody recorded it" if kind == "halt" else ""
        return Outcome(kind, False, "redis", None, f"{told}{what}", WRONG)
    what = "trading stays as it was" if kind == "resume" else "without Redis the lease lapses within 3 s and nothing opens"
    return Outcome(kind, False, "door", None, f"{told}; {through_door}; {what}", UNREACHABLE)


def show(outcome: Outcome, as_json: bool) -> int:
    if as_json:
        print_json(
            {
                "kind": outcome.kind,
                "confirmed": outcome.confirmed,
                "way": outcome.way,
                "epoch": outcome.epoch,
                "detail": outcome.detail,
            }
        )
    else:
        epoch = "" if outcome.epoch is None else f" (halt epoch {outcome.epoch})"
        say(f"{outcome.kind}: {'confirmed' if outcome.confirmed else 'NOT CONFIRMED'}{epoch}. {outcome.detail}".rstrip())
    return outcome.code


def _through_redis(access: Access, kind: Kind, by: str, reason: str) -> Outcome | Unheard:
    """The outcome, or why another way must be tried."""
    store = Store(Module.CLI, access.settings, access.vault.redis_password(Module.CLI), timeout_seconds=_TIMEOUT_SECONDS)
    try:
        asked = ControlRequest(secrets.token_hex(8), kind, by, reason, access.clock.machine_ns(), access.clock.market_ns())
        changes = Cursor.at_end([k.EVENTS_HALT.at()])
        store.read(changes)
        batch = store.batch()
        batch.append(k.CONTROL.at(module=Module.CLI), asked)
        store.commit(batch)
        confirmed = _await_halt(access, store, asked, changes)
    except StoreError as error:
        return Unheard(f"the state server does not answer ({error})", written=False)
    finally:
        store.close()
    if confirmed is None:
        return Unheard(f"the request is written, but emergency did not confirm it within {CONFIRM_SECONDS:g} s", written=True)
    return Outcome(kind, True, "redis", confirmed.epoch, f"By {confirmed.by}: {confirmed.reason}", DONE)


def _await_halt(access: Access, store: Store, asked: ControlRequest, changes: Cursor) -> Halt | HaltEvent | None:
    """The change that did it; a flattening of nothing ends before anybody could look at the state."""
    wanted = _WANTED[asked.kind]
    began = access.clock.monotonic()
    while (waited := access.clock.monotonic() - began) < CONFIRM_SECONDS:
        for entry in store.read(changes, block_seconds=_LOOK_SECONDS):
            if wanted(entry.event):
                return entry.event
        halt = store.get(k.HALT.at())
        if halt is not None and wanted(halt) and waited > _SAME_STATE_SECONDS:
            return halt
    return None


def _through_door(access: Access, kind: Kind, by: str, reason: str) -> Outcome | str:
    token = access.vault.get("emergency_token") or ""
    try:
        answer = emergency_socket.ask(access.folder, token, kind, by=by, reason=reason)
    except emergency_socket.EmergencyUnreachableError as error:
        return str(error)
    return Outcome(kind, answer.ok, "door", answer.epoch, answer.detail, DONE if answer.ok else WRONG)


def _at_the_gateway(access: Access) -> Outcome:
    import structlog

    from alphatrader.clients.ibkr.flatten import DIRECT_SECONDS, flatten_directly

    broker = access.settings.broker
    gateways = ", ".join(f"{address.host}:{address.port}" for address in broker.gateways)
    sys.stderr.write(
        f"alphatrader flatten: going to the gateway itself ({gateways}), "
        f"for {DIRECT_SECONDS + broker.connect_timeout_seconds:g} s at most. "
        f"Where none answers the stops at the broker stand: {_BY_HAND}\n"
    )
    log: Any = structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
    epoch = _next_epoch(access)
    most_bytes = access.settings.log.audit_most_bytes
    wire = AuditLog(access.folder / "audit", WIRE_LOG, access.clock, most_bytes) if most_bytes else None
    if wire is not None:
        wire.start()
    try:
        report = asyncio.run(flatten_directly(access.settings, epoch, monotonic=access.clock.monotonic, log=log, recorder=wire))
    finally:
        if wire is not None:
            wire.close()
            if wire.problem:  # money first: what the disk does not take stops nothing
                sys.stderr.write(f"alphatrader flatten: its messages are not all in the audit log: {wire.problem}\n")
    if report.flat:
        return Outcome("flatten", True, "gateway", None, "The broker holds nothing any more.", DONE)
    left = ", ".join(f"{name} {what}" for name, what in report.left.items()) or "not known what is left"
    code = WRONG if report.left else UNREACHABLE
    detail = f"{report.problem or 'not flat'}; still held: {left}; {_BY_HAND}"
    return Outcome("flatten", False, "gateway", None, detail, code)


def _next_epoch(access: Access) -> int:
    try:
        known = halt_file.read(access.folder)
    except halt_file.HaltFileError:
        return 1
    return known.epoch + 1 if known else 1
