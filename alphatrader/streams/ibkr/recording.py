"""What `ibkr` takes and gives, so that `alphatrader replay` can run it again: instants, what feeds were told, where turns ended.

The audit log holds every raw byte of the connection. Beside it stand here: at which instant each read came, which request id is
which symbol's, what the module told a feed by itself (a gap, a slot given or taken), and a digest of everything each turn wrote.
Feeds have no clock: they see the instant of the read, of the turn, or of what they are told. All stands in one log, in order.

A `begun` record says with which settings and clock the process began. Then, as msgpack arrays, `told` records
  [monotonic]                        the instant of the bytes in the next `received` record
  [monotonic, handled, to, what, *]  `to` a feed's symbol: a method and its arguments; `to` empty: `begin`, `line`, `unline`,
                                     and `shut`, the last word of a process that was not killed
and `turn` records
  [monotonic, after a read, [name, digest, ...]]
with one digest for all that went to a key in a row: length and CRC-32 of the contents.
`handled` counts the frames that our handlers have taken on this connection: a feed may be told something amid a read.

Nearly every read is followed by its turn and nothing between: both then stand in one row (`audit_file.Step`), which is read as
the three records that it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final
from zlib import crc32

import msgspec

from alphatrader.clients.ibkr.subscriptions import Subscriptions
from alphatrader.contract import keys as k
from alphatrader.contract.settings import Settings
from alphatrader.contract.settings.market import Market
from alphatrader.core.market.contracts import Instrument
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.status import Hours, MarketWide
from alphatrader.runtime.audit import AuditLog
from alphatrader.runtime.audit_file import BEGUN, RECEIVED, STEP, TOLD, TURN, Row, Step
from alphatrader.runtime.batch import Command
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.recording import begun_data
from alphatrader.streams.ibkr.checkpoints import row_of

NOT_RUN_AGAIN: Final = (k.QUOTES, k.MARKET_HISTORY)
"""Contracts asked for by other modules, and minutes that came as an answer: neither is folded from what feeds are told here."""
_packed: Final = msgspec.msgpack.Encoder().encode


class Instants:
    """The time that feeds see. It stands until `at` moves it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.now_ns = 0
        self.now = 0.0

    def at(self, machine_ns: int, monotonic: float) -> None:
        self.now_ns, self.now = self._clock.market_at(machine_ns), monotonic

    def market_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return self.now


class ToldFeed(SymbolFeed):
    """A feed that passes on what the module tells it, before it does it. What the wire brings is in the log anyway."""

    tell: Callable[..., None]
    _inside = False

    def gap(self, reason: str, *, depth_only: bool = False) -> None:
        if not self._inside:
            self.tell(self.symbol, "gap", reason, depth_only)
        super().gap(reason, depth_only=depth_only)

    def silenced(self) -> None:
        self.tell(self.symbol, "silenced")
        super().silenced()

    def set_depth(self, on: bool) -> None:
        self.tell(self.symbol, "set_depth", on)
        self._inside = True  # it tells itself of the gap that this is
        super().set_depth(on)
        self._inside = False

    def set_ticks(self, on: bool) -> None:
        self.tell(self.symbol, "set_ticks", on)
        super().set_ticks(on)

    def set_makers(self, on: bool) -> None:
        self.tell(self.symbol, "set_makers", on)
        super().set_makers(on)

    def break_makers(self, reason: str) -> None:
        self.tell(self.symbol, "break_makers", reason)
        super().break_makers(reason)

    def lose_makers(self, reason: str) -> None:
        self.tell(self.symbol, "lose_makers", reason)
        super().lose_makers(reason)

    def break_depth(self, reason: str) -> None:
        self.tell(self.symbol, "break_depth", reason)
        super().break_depth(reason)

    def number_from(self, seq: int) -> None:
        self.tell(self.symbol, "number_from", seq)
        super().number_from(seq)


def feed_of(
    kind: type[SymbolFeed],
    instrument: Instrument,
    market: Market,
    instants: Instants,
    session: Callable[[int], Hours | None],
    market_wide: MarketWide,
    spoken: list[SymbolFeed],
) -> Any:
    return kind(
        instrument.symbol,
        full=instrument.full,
        depth_rows=market.depth_rows,
        quiet_seconds=market.quiet_seconds_by_symbol.get(instrument.symbol, market.quiet_seconds),
        market_ns=instants.market_ns,
        monotonic=instants.monotonic,
        equity=instrument.kind == "equity",
        session=session,
        market_wide=market_wide,
        spoken=spoken,
    )


class FeedRecorder:
    """Moves the instants and writes them down; without a log it only moves them. Is told of the connection by `wiretap.tap`."""

    def __init__(self, clock: Clock, settings: Settings, name: str, log: AuditLog | None) -> None:
        self.instants = Instants(clock)
        self.handled: Callable[[], int] = _none
        """How many frames the present handlers have taken."""
        self._clock, self._log = clock, log
        self._read: tuple[int, float, bytes] | None = None
        """What was read and waits for the end of its turn."""
        self._begun = begun_data(name, settings, clock)
        if log is not None:
            log.add(Row(BEGUN, clock.machine_ns(), self._begun))

    def tick(self) -> tuple[int, float]:
        """The feeds' time is now."""
        machine_ns, monotonic = self._clock.machine_ns(), self._clock.monotonic()
        self.instants.at(machine_ns, monotonic)
        return machine_ns, monotonic

    def told(self, to: str, what: str, *arguments: Any) -> None:
        machine_ns, monotonic = self.tick()
        if self._log is not None:
            self.settle()
            self._log.add(Row(TOLD, machine_ns, _packed([monotonic, self.handled(), to, what, *arguments])))

    def wrote(self, commands: list[Command], machine_ns: int, monotonic: float, *, after_read: bool) -> None:
        """A turn has ended."""
        if self._log is None:
            return
        written = digests(commands) if commands else ()  # most turns of a quiet line write none
        if self._read is not None and after_read:
            read_ns, read, data = self._read
            self._read = None
            self._log.add(Step(STEP, read_ns, read, data, machine_ns - read_ns, monotonic, written))
            return
        self.settle()
        self._log.add(Row(TURN, machine_ns, _packed([monotonic, after_read, written])))

    def keep(self, feeds: Mapping[str, SymbolFeed], subscriptions: Subscriptions) -> bool:
        """Writes down how the feeds stand; False amid a turn. No part of a frame may be waiting for its rest."""
        if self._log is None:
            return True
        kept = row_of(self._begun, self._clock.machine_ns(), feeds, subscriptions)
        if kept is None or self._read is not None:
            return False
        self._log.add_alone(kept)
        return True

    def settle(self) -> None:
        """What was read stands by itself: something came before its turn, or no turn comes."""
        if self._read is not None and self._log is not None:
            read_ns, read, data = self._read
            self._read = None
            self._log.add(Row(TOLD, read_ns, _packed([read])))
            self._log.add(Row(RECEIVED, read_ns, data))

    # -- wiretap.Recorder

    def opened(self, peer: str) -> None:
        if self._log is not None:
            self.settle()
            self._log.opened(peer)

    def received(self, data: bytes) -> None:
        if self._read is not None:
            self.settle()
        machine_ns, monotonic = self.tick()
        if self._log is not None:
            self._read = machine_ns, monotonic, data

    def sent(self, data: bytes) -> None:
        if self._log is not None:
            self.settle()
            self._log.sent(data)

    def closed(self, reason: str) -> None:
        if self._log is not None:
            self.settle()
            self._log.closed(reason)


def digests(commands: Sequence[Command]) -> tuple[Any, ...]:
    """Of the writes that are run again: each key's name, then the digest of the contents that went to it one after the other.
    What stands around a content (the command's name, how long it lives) follows from its key and the settings."""
    if len(commands) == 1:  # of the turns that write, most
        (command,) = commands
        if not _run_again(command[1]):
            return ()
        content: bytes = command[2] if command[0] == "SET" else command[-1]
        return command[1], len(content) << 32 | crc32(content)
    told: list[Any] = []
    before: str | None = None
    size = total = 0
    for command in commands:
        name = command[1]
        content = command[2] if command[0] == "SET" else command[-1]  # an event is the last word of its command
        if name == before:
            size, total = size + len(content), crc32(content, total)
        else:
            if before is not None and _run_again(before):
                told += before, size << 32 | total
            before, size, total = name, len(content), crc32(content)
    if before is not None and _run_again(before):
        told += before, size << 32 | total
    return tuple(told)


def parts(digest: int) -> tuple[int, str]:
    """(bytes, CRC-32) of a digest."""
    return digest >> 32, f"{digest & 0xFFFFFFFF:08x}"


@lru_cache(maxsize=4096)
def _run_again(name: str) -> bool:
    return not any(key.parse(name) for key in NOT_RUN_AGAIN)


def _none() -> int:
    return 0
