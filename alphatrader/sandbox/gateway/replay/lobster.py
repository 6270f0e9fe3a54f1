"""Reads a LOBSTER recording: the message file, and the order-book file that holds the state after each message.

Format (lobsterdata.com, "Data Structure"): message `time, type, order id, size, price x 10000, side of the resting order`;
order book `ask price, ask size, bid price, bid size` for each level. A level that is not there has the price 9999999999 or
-9999999999. A halt is a message of type 7 with price -1 (halted), 0 (quoting again) or 1 (trading again).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NEW, PARTIAL_CANCEL, DELETE, EXECUTION, HIDDEN_EXECUTION, CROSS, HALT = range(1, 8)
PRICE_UNIT = 10_000
NO_LEVEL = 9_999_999_999
_FIELDS = 6

Levels = tuple[tuple[float, int], ...]
"""(price, size), best first."""


@dataclass(frozen=True, slots=True)
class Event:
    """One message and the book after it."""

    since_midnight_ns: int
    kind: int
    order_id: int
    size: int
    price: float
    side: int  # of the resting order: 1 buy, -1 sell
    asks: Levels
    bids: Levels


def orderbook_path(messages: Path) -> Path:
    """The state file beside a message file, by LOBSTER's own naming."""
    return messages.with_name(messages.name.replace("_message_", "_orderbook_"))


def read(messages: Path) -> list[Event]:
    """Every event in order. ValueError names the file and the row that is not of the format."""
    states = orderbook_path(messages)
    if states == messages:
        raise ValueError(f"{messages}: a LOBSTER message file has _message_ in its name")
    told, held = messages.read_text().splitlines(), states.read_text().splitlines()
    if len(told) != len(held):
        raise ValueError(f"{messages.name} has {len(told)} rows and {states.name} {len(held)}: each message needs its state")
    events: list[Event] = []
    for number, (message, state) in enumerate(zip(told, held, strict=True), 1):
        try:
            event = _event(message, state)
        except ValueError as error:
            raise ValueError(f"{messages.name} row {number}: {error}") from error
        if events and event.since_midnight_ns < events[-1].since_midnight_ns:
            raise ValueError(f"{messages.name} row {number}: time goes back")
        events.append(event)
    if not events:
        raise ValueError(f"{messages}: no event in it")
    return events


def _event(message: str, state: str) -> Event:
    fields = message.split(",")
    if len(fields) < _FIELDS:
        raise ValueError(f"{len(fields)} fields where {_FIELDS} belong")
    seconds, _, fraction = fields[0].partition(".")
    since_midnight_ns = int(seconds) * 1_000_000_000 + int(f"{fraction:0<9}"[:9])
    kind, order_id, size, price, side = (int(field) for field in fields[1:_FIELDS])
    if not NEW <= kind <= HALT:
        raise ValueError(f"type {kind} is outside {NEW}..{HALT}")
    numbers = [int(field) for field in state.split(",")]
    if not numbers or len(numbers) % 4:
        raise ValueError(f"{len(numbers)} numbers of state; each level has four")
    asks, bids = _levels(numbers[0::4], numbers[1::4]), _levels(numbers[2::4], numbers[3::4])
    unit = 1 if kind == HALT else PRICE_UNIT
    return Event(since_midnight_ns, kind, order_id, size, price / unit, side, asks, bids)


def _levels(prices: list[int], sizes: list[int]) -> Levels:
    return tuple((p / PRICE_UNIT, s) for p, s in zip(prices, sizes, strict=True) if abs(p) != NO_LEVEL and s > 0)
