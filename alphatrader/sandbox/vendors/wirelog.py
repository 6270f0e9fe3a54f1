"""The wire log of the stand-ins: `data_dir/vendors.jsonl`, one JSON object a line, appended before the answer leaves.

A checker reads it. Fields of a line:

    n                     sequence number, rising by one across restarts
    vendor                alphavantage, stripe, telegram, discord, x, openai
    direction             "in": a call of the product; "out": a delivery to the product (a Stripe or Telegram webhook)
    method, path, query   as sent, credentials replaced by ***
    request               the decoded body: JSON object, form as an object, null when there was none; {"undecodable": head}
    status                HTTP status of the answer; null when no answer was given (time-out, connection cut)
    answer                the decoded JSON answer; {"bytes": n, "head": text} when it is long or not JSON
    fault                 the injected fault that shaped the exchange, else null
    accepted              true when the vendor acted on the request, whether or not the answer reached the client
    received_machine_ns, answered_machine_ns, received_market_ns, answered_market_ns
    told                  null, or what a person would have seen: {"channel", "title", "text"} (the outbox shows these)

A line whose `answered_*` is much later than `received_*` is a long poll or an injected delay.
The file turns over at 64 MB into `vendors.1.jsonl` (one older file is kept).
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import msgspec

from alphatrader.sandbox.vendors.world import VendorWorld

TURN_OVER_BYTES = 64 * 1024 * 1024
LONG_ANSWER_BYTES = 4096
LONG_REQUEST_BYTES = 64 * 1024
KEPT_FOR_OUTBOX = 500
TAIL_BYTES = 8 * 1024 * 1024


class WireLog:
    def __init__(self, world: VendorWorld) -> None:
        self.path = world.data_dir / "vendors.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._secrets = [secret.encode() for secret in world.credentials.secrets()]
        self._lock = threading.Lock()
        self._told: deque[dict[str, Any]] = deque(maxlen=KEPT_FOR_OUTBOX)
        self._last = 0
        self._read_tail()
        self._file = self.path.open("ab")

    def write(self, line: dict[str, Any]) -> int:
        """Append one line and give its sequence number."""
        with self._lock:
            if self._file.closed:  # a handler that outlived the server's stop
                return self._last
            self._last += 1
            body = self._redact(msgspec.json.encode({"n": self._last, **line}))
            if self._file.tell() + len(body) > TURN_OVER_BYTES:
                self._file.close()
                self.path.replace(self.path.with_name("vendors.1.jsonl"))
                self._file = self.path.open("ab")
            self._file.write(body + b"\n")
            self._file.flush()
            if line.get("told"):
                self._told.append(msgspec.json.decode(body))
            return self._last

    def told(self, vendor: str = "", channel: str = "", after: int = 0) -> list[dict[str, Any]]:
        """The kept lines that told somebody something, oldest first."""
        with self._lock:
            kept = list(self._told)
        return [
            line
            for line in kept
            if line["n"] > after
            and (not vendor or line["vendor"] == vendor)
            and (not channel or line["told"]["channel"] == channel)
        ]

    def last(self) -> int:
        with self._lock:
            return self._last

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def _redact(self, body: bytes) -> bytes:
        for secret in self._secrets:
            body = body.replace(secret, b"***")
        return body

    def _read_tail(self) -> None:
        """Continue the numbers and the outbox of an earlier run; a torn last line (a kill mid-write) is cut off."""
        for path in (self.path.with_name("vendors.1.jsonl"), self.path):
            if not path.exists():
                continue
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - TAIL_BYTES))
                tail = file.read()
            torn = len(tail) - (tail.rfind(b"\n") + 1)
            if torn:
                with path.open("rb+") as file:
                    file.truncate(size - torn)
                tail = tail[: len(tail) - torn]
            for raw in tail.split(b"\n"):
                try:
                    line = msgspec.json.decode(raw)
                except msgspec.DecodeError:
                    continue  # the first piece of a cut tail, or an empty end
                if not isinstance(line, dict) or "n" not in line:
                    continue
                self._last = max(self._last, line["n"])
                if line.get("told"):
                    self._told.append(line)


def decoded(body: bytes, limit: int) -> Any:
    """A body as the log keeps it: JSON when it is JSON and short, else its size and head."""
    if not body:
        return None
    if len(body) <= limit:
        try:
            return msgspec.json.decode(body)
        except msgspec.DecodeError:
            pass
    return {"bytes": len(body), "head": body[:200].decode("utf-8", "replace")}
