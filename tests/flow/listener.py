"""An independent reader of the market's streams: neither the product's store nor its messages nor its checksum.

`Listener` reads every `events:market:*` as it is written, from the entry that is newest at its making. It holds each book to its
CRC32, computed here from the layout that `core/market/checksum.py` states, each number to the one before it, and each print that
came tick by tick to the truth log of the sandbox.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from redis import Redis
from redis.exceptions import RedisError

from alphatrader.contract.modules import Module
from tests.flow.system import System

PREFIX = "events:market:"
SECOND_NS = 1_000_000_000
Print = tuple[int, float, float, str]
"""(second of exchange time, price, size, sale conditions)."""


@dataclass
class Heard:
    """What was heard of one symbol."""

    events: int = 0
    books: int = 0
    newest_seq: int | None = None
    holes: list[str] = field(default_factory=list)
    """Where a number does not follow the one before it."""
    wrong_checksums: list[str] = field(default_factory=list)
    lines: list[list[Print]] = field(default_factory=list)
    """The prints of each stretch in which the symbol stood on one tick-by-tick line, in order."""
    on_a_line: bool = False


class Listener:
    def __init__(self, system: System, symbols: Iterable[str]) -> None:
        address, user = system.settings.servers.data, str(Module.OPERATOR)
        self._client = Redis(
            host=address.host, port=address.port, username=user, password=system.vault.redis_password(Module.OPERATOR)
        )
        self.heard = {symbol: Heard() for symbol in symbols}
        self._cursor: dict[str, str] = {}
        for symbol in self.heard:
            newest: Any = self._client.xrevrange(PREFIX + symbol, count=1)
            self._cursor[PREFIX + symbol] = newest[0][0].decode() if newest else "0"
        self._stop = threading.Event()
        self.problem: Exception | None = None
        self._thread = threading.Thread(target=self._listen, name="listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Everything written until now has been heard when this returns."""
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the listener does not keep up"
        assert self.problem is None, f"the listener failed: {self.problem!r}"

    def _listen(self) -> None:
        try:
            while True:
                last = self._stop.is_set()
                found: Any = self._client.xread(self._cursor, count=2_000, block=None if last else 200)
                if not found and last:
                    return
                for name, entries in found:
                    stream = name.decode()
                    heard = self.heard[stream.removeprefix(PREFIX)]
                    for _, fields in entries:
                        take(heard, msgspec.msgpack.decode(fields[b"e"]))
                    self._cursor[stream] = entries[-1][0].decode()
        except (RedisError, OSError, msgspec.DecodeError, IndexError, TypeError) as error:
            self.problem = error


def take(heard: Heard, event: list[Any]) -> None:
    """One event as it stands in the stream: its class, its number, its fields in order."""
    kind, seq = event[0], event[1]
    heard.events += 1
    if heard.newest_seq is not None and seq != heard.newest_seq + 1:
        heard.holes.append(f"{kind} {seq} after {heard.newest_seq}")
    heard.newest_seq = seq
    if kind == "BookEvent":
        heard.books += 1
        bids, asks, told = event[5], event[6], event[7]
        if (computed := checksum(bids, asks)) != told:
            heard.wrong_checksums.append(f"number {seq}: {computed} computed, {told} told")
    elif kind == "GapEvent":
        heard.on_a_line = heard.on_a_line and bool(event[4])
    elif kind == "Trade":
        _, _, ts_ns, _, price, size, _, conditions = event[:8]
        tick_by_tick = len(event) > 16 and event[16]
        if tick_by_tick:
            if not heard.on_a_line:
                heard.lines.append([])
            heard.lines[-1].append((ts_ns // SECOND_NS, price, size, conditions))
        heard.on_a_line = bool(tick_by_tick)


def checksum(bids: list[list[Any]], asks: list[list[Any]]) -> int:
    """Asks low to high, bids high to low, ten of each: price with 6 decimals, size with 2, without dots and leading zeros."""
    text = ""
    for row in asks[:10] + bids[:10]:
        for value, decimals in ((row[0], 6), (row[1], 2)):
            text += str(int(Decimal(value).quantize(Decimal(1).scaleb(-decimals)).scaleb(decimals)) or "")
    return zlib.crc32(text.encode())


def lost(heard: Heard, truth: Counter[Print]) -> list[str]:
    """Prints the market made while the symbol stood on a line, and the stream does not have; and the other way round.

    The first and the last second of a stretch may have begun or ended inside it and are left out."""
    found = []
    for line in heard.lines:
        first, last = line[0][0] + 1, max(print_[0] for print_ in line) - 1
        streamed = Counter(print_ for print_ in line if first <= print_[0] <= last)
        made = Counter({print_: n for print_, n in truth.items() if first <= print_[0] <= last})
        found += [f"lost {n}x {print_}" for print_, n in (made - streamed).items()]
        found += [f"invented {n}x {print_}" for print_, n in (streamed - made).items()]
    return found


def compared(heard: Heard) -> int:
    """Prints in the seconds that `lost` compares."""
    return sum(line[0][0] < print_[0] < max(one[0] for one in line) for line in heard.lines for print_ in line)


def truth_prints(path: Path, symbol_of: dict[int, str]) -> dict[str, Counter[Print]]:
    """The truth log's prints by symbol; a file that outgrew its bound goes on in the next."""
    made: dict[str, Counter[Print]] = defaultdict(Counter)
    for entry in _entries([path.with_name(path.name + ".1"), path]):
        if entry["kind"] == "print" and entry["con_id"] in symbol_of:
            print_ = (entry["ts_ns"] // SECOND_NS, float(entry["price"]), float(entry["size"]), entry["conditions"])
            made[symbol_of[entry["con_id"]]][print_] += 1
    return made


def _entries(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        if path.exists():
            with path.open() as lines:
                yield from (json.loads(line) for line in lines if '"print"' in line and line.endswith("\n"))
