"""What a stand-in shares with the application around it during one request."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from flask import Blueprint, Response, g


class StandIn(Protocol):
    """One vendor. `error` is how this vendor words a refusal (used for injected faults)."""

    name: str

    def blueprint(self) -> Blueprint: ...

    def error(self, status: int, seconds: float) -> Response: ...


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, {"Content-Type": "application/json", **(headers or {})})


def tell(channel: str, title: str, text: str) -> None:
    """Mark this request as something a person would have seen: it goes to the outbox when the answer is a success."""
    g.told = {"channel": channel, "title": title, "text": text}
