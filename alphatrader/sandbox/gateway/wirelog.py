"""The gateway's own record of what was said and what is true: `wire.jsonl`, one JSON object a line.

A checker of invariants reads it offline, so nothing in it is taken from what a client claims. Every line has
`machine_ns` (for latencies), `market_ns` and `kind`:

- `start`, `stop`: the gateway; `account`, `equity`.
- `connect`, `disconnect`: `client` (its clientId, null before startApi), `port`, `version`, `reason`.
- `frame`: one message of order traffic; `client`, `port`, `dir` (`in` from the client, `out` to it), `message`
  (placeOrder, cancelOrder, reqGlobalCancel, openOrder, orderStatus, execDetails, commissionReport, completedOrder,
  and every error and notice, whose `id` is an order's, a request's or -1) and `fields` by name. `machine_ns` of an
  `in` line is when its bytes arrived.
  `reply: true` marks what answers a request (reqExecutions, reqOpenOrders) instead of telling news.
  A placeOrder has besides `bid` and `ask` of its contract as the market stood when it came (null: none).
- `raw`: any other frame when `log_all` is set; `client`, `port`, `dir`, `fields` as a list of texts.
- `truth`: the account after it changed. `what` is `fill` (`exec_id`, `perm_id`, `order_id`, `owner` the clientId that
  placed the order, `order_ref`, `side`, `shares`, `price`, `con_id`, `symbol`, `position` signed after it, `average_cost`,
  `cash`), `order` (`perm_id`, `order_id`, `owner`, `order_ref`, `parent_id`, `con_id`, `action`, `type`, `quantity`,
  `filled`, `status`, `active`: the quantity that could execute now, zero while held for a parent, `oca_group`, `price`: its
  stop or limit), `expiry` (`con_id`, `position`, `value`, `cash`), `correction` (`exec_id`, `replaces`, `price`), and of a
  depth subscription `book` (`client`, `req_id`, `con_id`, `bids` and `asks` as rows of price, size, venue and market maker, as
  its client must hold them after `sent` messages), every 5 s, with `log_all` after every change. `turn` counts the gateway's
  turns: what is written within one is of one instant, whatever the stamps say.
- `refused`: a bad frame (`why`), counted and answered, never acted on.
- `fault`: an injected fault; `what` and its arguments, `failed` when it could not be done.
- `late`: the gateway came `seconds` of machine time late to a turn: quotes and books were conflated, prints were not.

Past `most_bytes` the file becomes `wire.jsonl.1`, in the place of the one before: the disk holds at most twice that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

MOST_BYTES = 512_000_000


class WireLog:
    def __init__(
        self,
        path: Path,
        now_ns: Callable[[], int],
        machine_ns: Callable[[], int],
        *,
        log_all: bool = False,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.log_all = log_all
        self._now_ns = now_ns
        self._machine_ns = machine_ns
        self._encoder = msgspec.json.Encoder()
        self._path, self._most_bytes = path, most_bytes
        self.turn = 0
        self._open()

    def _open(self) -> None:
        self._file = self._path.open("ab", buffering=1 << 16)
        self._written = self._file.tell()

    def write(self, kind: str, *, machine_ns: int | None = None, **values: Any) -> None:
        line = {"machine_ns": machine_ns or self._machine_ns(), "market_ns": self._now_ns(), "kind": kind, **values}
        if kind == "truth":
            line["turn"] = self.turn
        self._written += self._file.write(self._encoder.encode(line) + b"\n")
        if self._written > self._most_bytes:
            self._file.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._open()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()
