"""The outbox: a page (/outbox) and a list (/outbox.json) of everything the vendors were told, newest first.

Reads the wire log's kept lines only. Filters: `vendor`, `channel`, and for the list `after` (a line's number).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, render_template, request

from alphatrader.sandbox.vendors.exchange import answer
from alphatrader.sandbox.vendors.wirelog import WireLog
from alphatrader.sandbox.vendors.world import VendorWorld

NEW_YORK = ZoneInfo("America/New_York")
PAGE_LINES = 200
NAMES = {"discord": "Discord", "telegram": "Telegram", "x": "X", "stripe": "Stripe", "openai": "OpenAI"}
PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'"}


def outbox_blueprint(world: VendorWorld, wire: WireLog) -> Blueprint:
    routes = Blueprint("outbox", __name__)

    @routes.get("/outbox.json")
    def as_json() -> Response:
        try:
            after = int(request.args.get("after", "0"))
        except ValueError:
            return answer({"error": "after: not a number"}, 400)
        lines = wire.told(request.args.get("vendor", ""), request.args.get("channel", ""), after)
        return answer({"items": [_item(line) for line in lines], "last": wire.last()})

    @routes.get("/outbox")
    def as_page() -> Response:
        vendor, channel = request.args.get("vendor", ""), request.args.get("channel", "")
        everything = [_item(line) for line in wire.told()]
        shown = [
            item
            for item in reversed(everything)
            if (not vendor or item["vendor"] == vendor) and (not channel or item["channel"] == channel)
        ]
        counts: dict[tuple[str, str], int] = {}
        for item in everything:
            counts[(item["vendor"], item["channel"])] = counts.get((item["vendor"], item["channel"]), 0) + 1
        page = render_template(
            "outbox.html",
            items=shown[:PAGE_LINES],
            more=max(0, len(shown) - PAGE_LINES),
            total=len(everything),
            counts=sorted(counts.items()),
            names=NAMES,
            vendor=vendor,
            channel=channel,
            now=_clock(world.now_ns()),
        )
        return Response(page, 200, {"Content-Type": "text/html; charset=utf-8", **PAGE_HEADERS})

    return routes


def _item(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "n": line["n"],
        "vendor": line["vendor"],
        **line["told"],
        "market_time": _clock(line["received_market_ns"]),
        "received_market_ns": line["received_market_ns"],
        "received_machine_ns": line["received_machine_ns"],
        "answer_reached": line["status"] is not None,
    }


def _clock(ts_ns: int) -> str:
    local = datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).astimezone(NEW_YORK)
    return f"{local:%a %d %b %Y, %H:%M:%S} ET"
