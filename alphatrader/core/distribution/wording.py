"""One delivery in each vendor's form: a Discord embed, a Telegram text, a tweet. All end with the reference and the disclaimer.

Limits: Discord's documentation of embeds (title 256, description 4096, 25 fields of 256 and 1024, footer 2048, 6000 in all),
Telegram's of sendMessage (4096), X's of a post (280 by its weighted count).
"""

from __future__ import annotations

import unicodedata
from typing import Any, Final

from alphatrader.contract.messages.distribution import Delivery
from alphatrader.contract.messages.positions import ClosedTrade
from alphatrader.core.distribution.tiers import SECOND, clock_text, contract_text, usd

TITLE, DESCRIPTION, FIELD_NAME, FIELD_VALUE, FIELDS, FOOTER, WHOLE = 256, 3000, 256, 1024, 25, 2048, 6000
TELEGRAM_TEXT: Final = 4096
TWEET: Final = 280
_COLOURS: Final = {"signal": 0x2F81F7, "position": 0x8957E5, "analysis": 0x6E7681, "notice": 0x6E7681}
_LATE_COLOUR: Final = 0xD29922


def late_line(delivery: Delivery, now_ns: int) -> str:
    minutes = max(1, round((now_ns - delivery.due_ns) / SECOND / 60))
    when = clock_text(delivery.created_ns)
    return f"LATE by {minutes} min: this tells of {when}. Its prices are history, not something to act on."


def footer(delivery: Delivery) -> str:
    reference = f"ref {delivery.about} · " if delivery.about else ""
    return cut(reference + delivery.disclaimer, FOOTER)


def discord_embed(delivery: Delivery, late: str | None = None) -> dict[str, Any]:
    """An embed within Discord's limits, as its API takes it. What does not fit is cut and ends in an ellipsis."""
    lines = ([late] if late else []) + list(delivery.lines)
    embed: dict[str, Any] = {
        "title": cut(f"Late: {delivery.title}" if late else delivery.title, TITLE),
        "description": cut("\n".join(lines), DESCRIPTION),
        "color": _LATE_COLOUR if late else _COLOURS[delivery.kind],
        "fields": [],
        "footer": {"text": footer(delivery)},
    }
    left = WHOLE - len(embed["title"]) - len(embed["description"]) - len(embed["footer"]["text"])
    for name, value in list(delivery.fields.items())[:FIELDS]:
        shown: dict[str, Any] = {"name": cut(name, FIELD_NAME) or "-", "value": cut(value, FIELD_VALUE) or "-"}
        shown["inline"] = len(value) <= 24
        left -= len(shown["name"]) + len(shown["value"])
        if left < 0:
            break
        embed["fields"].append(shown)
    return embed


def telegram_text(delivery: Delivery, late: str | None = None) -> str:
    """Plain text, no markup: nothing to escape. The last line is never cut."""
    last = footer(delivery)
    head = [f"Late: {delivery.title}" if late else delivery.title]
    body = [*([late] if late else []), *(f"{name}: {value}" for name, value in delivery.fields.items()), *delivery.lines]
    return f"{cut(chr(10).join(head + body), TELEGRAM_TEXT - len(last) - 2)}\n\n{last}"


def tweet_text(trade: ClosedTrade, disclaimer: str) -> str:
    """A winning trade in a post. The reference and the disclaimer stay whole; the sentence before them is short enough."""
    paid = trade.entry_price * trade.quantity * trade.contract.multiplier
    share = f" ({trade.pnl / paid:+.1%})" if paid > 0 else ""
    text = f"Closed {contract_text(trade.contract)}, {trade.strategy}: +{usd(trade.pnl)}{share} after commissions."
    last = f"ref {trade.position_id}\n{disclaimer}"
    if weighted_length(f"{text}\n{last}") > TWEET:
        last = f"ref {trade.position_id}\nNot investment advice."
    return f"{text}\n{last}"


def weighted_length(text: str) -> int:
    """X's count of a text without links: a letter outside Latin, Greek, Cyrillic and their like is 2."""
    return sum(1 if ord(c) <= 0x10FF or 0x2000 <= ord(c) <= 0x201F else 2 for c in unicodedata.normalize("NFC", text))


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
