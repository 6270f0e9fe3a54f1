"""A gateway for the tick benchmark: the stand-in's own session, with prints written straight onto its socket at an even rate.

Run by bench_ticks.py as a process. Also listens on a bare port for the raw reference, which gets the same frames without a
handshake. Says its ports on stdout as JSON; obeys `product|raw RATE SECONDS` on stdin and answers with the instants of its ticks.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
import tempfile
import threading
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from alphatrader.sandbox.gateway.limits import Limits  # noqa: E402
from tests.support.fixed_market import AAPL, ES_DEC, SPY, FixedMarket  # noqa: E402
from tests.support.gateway import Clock, Running, new_york_ns, running_gateway  # noqa: E402

SYMBOLS = {"SPY": SPY, "AAPL": AAPL, "ES": ES_DEC}
START = "2026-11-18 10:00:00"
SPEAK_SECONDS = 1.0
LINES_SECONDS = 30.0
MOST_TIMES = 4
STUCK_SECONDS = 10.0


PRICES = (("600.0", "600.02"), ("249.99", "250.01"), ("5999.75", "6000.25"))
"""Around each symbol's quote, so that both sides trade: a print far from it is refused."""


KINDS = 2 * len(PRICES) * 7
"""After so many prints prices and sizes begin anew."""


@cache
def frame(req_id: int, number: int, market_seconds: int) -> bytes:
    """A tick-by-tick print. The lines take turns, and each line its two prices. Made once a second: who feeds must not take the
    cores from those it measures."""
    price = PRICES[number % len(PRICES)][number // len(PRICES) & 1]
    text = f"99\0{req_id}\0002\0{market_seconds}\0{price}\0{100 + number % 7}\0000\0ARCA\0\0".encode()
    return struct.pack(">I", len(text)) + text


def pace(send: Any, lines: list[int], rate: int, seconds: float, market_ns: Any) -> list[int]:
    """Sends one print at a time, evenly, over the lines in turn. Returns when each left. Whoever does not take them holds it up:
    what is not out in some times the time is not sent."""
    total = int(rate * seconds)
    sent: list[int] = []
    start = time.monotonic_ns()
    ends = start + int(seconds * MOST_TIMES * 1e9)
    for number in range(total):
        if sent and sent[-1] > ends:
            break
        due = start + number * 1_000_000_000 // rate
        while (left := due - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)
        data = frame(lines[number % len(lines)], number % KINDS, market_ns() // 1_000_000_000)
        sent.append(time.monotonic_ns())
        send(data)
    return sent


def sender(descriptor: int) -> Any:
    """Raises TimeoutError where nobody takes a print for STUCK_SECONDS."""

    def send(data: bytes) -> None:
        left, until = memoryview(data), time.monotonic() + STUCK_SECONDS
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError(f"nothing was taken for {STUCK_SECONDS:g} s") from None
                time.sleep(0.0002)

    return send


async def speak(running: Running, sending: threading.Event) -> None:
    """Quotes and books move a little between the runs, as they would: a line that says nothing is taken for dead and asked for
    anew. Never while prints are written: they go straight onto the same socket."""
    number = 0
    while True:
        await asyncio.sleep(SPEAK_SECONDS)
        if sending.is_set():
            continue
        number += 1
        for con_id in SYMBOLS.values():
            running.market.quote_set(con_id, bid_size=500 + number % 7, ask_size=500 + number % 5)
            book = running.market.book(con_id)
            bids = [replace(book.bids[0], size=500 + number % 7), *book.bids[1:]]
            running.market.book_set(con_id, bids, list(book.asks))


def obey(running: Running, raw: socket.socket, sending: threading.Event) -> None:
    """Reads orders until stdin closes."""
    connections: list[socket.socket] = []
    for order in sys.stdin:
        who, rate, seconds = order.split()
        if who == "raw":
            if not connections:
                connections.append(raw.accept()[0])
                connections[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            send, lines = sender(connections[0].fileno()), list(range(len(SYMBOLS)))
        else:
            ticks, until = running.gateway.data._ticks, time.monotonic() + LINES_SECONDS
            while len(ticks) < len(SYMBOLS):
                if time.monotonic() > until:
                    print(json.dumps(f"{len(ticks)} of {len(SYMBOLS)} tick lines are asked for"), flush=True)
                    return
                time.sleep(0.05)
            by_contract = {line.con_id: (line.session, line.req_id) for line in list(ticks.values())}
            session = by_contract[SPY][0]
            lines = [by_contract[con_id][1] for con_id in SYMBOLS.values()]
            send = sender(session._transport.get_extra_info("socket").fileno())
        sending.set()
        try:
            told: list[int] | str = pace(send, lines, int(rate), float(seconds), running.clock)
        except OSError as error:
            told = f"the line to {who} is gone: {error}"
        sending.clear()
        print(json.dumps(told), flush=True)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as raw:
        clock = Clock(new_york_ns(START), running=True)
        market = FixedMarket(clock())
        async with running_gateway(Path(folder), market=market, clock=clock, limits=Limits()) as running:
            print(json.dumps({"gateway": running.port, "raw": raw.getsockname()[1]}), flush=True)
            done = asyncio.Event()
            loop = asyncio.get_running_loop()

            sending = threading.Event()

            def work() -> None:
                obey(running, raw, sending)
                loop.call_soon_threadsafe(done.set)

            threading.Thread(target=work, daemon=True).start()
            speaking = asyncio.create_task(speak(running, sending))
            await done.wait()
            speaking.cancel()


if __name__ == "__main__":
    asyncio.run(main())
