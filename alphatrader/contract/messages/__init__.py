"""The messages in the keys: frozen structs, one file for each step of the flow.

`Message` is for state keys (JSON objects that a person reads), `Event` for streams (msgpack arrays, positional:
a new field goes to the end and has a default). Instants are nanoseconds since the Unix epoch: `ts_ns` is market time,
`machine_ns` machine time. Money that is booked is Decimal; market data are floats; what is missing is None.
A message holds values and messages, never what holds it: the collector of cycles need not look at one (`gc=False`).
"""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A state key's content."""


class Event(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A stream's entry: its class name is the first element."""
