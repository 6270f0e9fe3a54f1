"""The morning note: facts in words, the template made of them, and the check of what a model wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from alphatrader.contract.messages.market import Last
from alphatrader.core.analysis.levels import Levels

MOST_CHARACTERS: Final = 6000
LEAST_CHARACTERS: Final = 80
_NUMBER: Final = re.compile(r"\d[\d,]*\.?\d*")
_PREVIEW_LINES: Final = 4


def change(last: Last | None) -> str | None:
    """`6,512.25 (+0.4 %)`; None without a price."""
    if last is None or last.last is None:
        return None
    if not last.prev_close:
        return f"{last.last:,.2f}"
    return f"{last.last:,.2f} ({(last.last / last.prev_close - 1) * 100:+.1f} %)"


def facts(
    quotes: Mapping[str, Last | None], marked: Mapping[str, Levels | None], sentiment: Mapping[str, float | None]
) -> dict[str, str]:
    """Label -> text. What is not known is said to be, never left out silently."""
    found = {name: change(last) or "no quote" for name, last in quotes.items()}
    for symbol, known in marked.items():
        if known is None:
            found[f"{symbol} levels"] = "no daily bars"
            continue
        text = f"high {known.high:.2f}, low {known.low:.2f}, close {known.close:.2f}, pivot {known.pivot:.2f}"
        text += f", resistance {known.resistance:.2f}, support {known.support:.2f}"
        found[f"{symbol} levels"] = text + (f", ATR {known.atr:.2f}" if known.atr is not None else "")
    for symbol, score in sentiment.items():
        if score is not None:
            found[f"{symbol} news"] = f"{score:+.2f} on a scale of -1 to 1"
    return found


INSTRUCTION: Final = (
    "Write the morning note of the session for option traders: at most 250 words, plain paragraphs, no headings, no advice. "
    "Use only the facts you are given, and no other number."
)


def prompt(session: str, known: Mapping[str, str]) -> str:
    """The facts as the model gets them, beside INSTRUCTION."""
    return f"Session of {session}\n" + "\n".join(f"- {label}: {text}" for label, text in known.items())


def template(session: str, known: Mapping[str, str]) -> str:
    """The note without a model: the facts, and that they are only that."""
    lines = [f"Facts before the session of {session}, gathered by AlphaTrader without commentary:"]
    lines += [f"{label}: {text}" for label, text in known.items()]
    return "\n".join(lines)


def refused(text: str, session: str, known: Mapping[str, str]) -> str | None:
    """Why a model's text is not published; None where it may be. Its numbers must all stand in the facts it was given."""
    if not LEAST_CHARACTERS <= len(text) <= MOST_CHARACTERS:
        return f"it has {len(text)} characters, allowed are {LEAST_CHARACTERS} to {MOST_CHARACTERS}"
    given = {_plain(number) for fact in (session, *known, *known.values()) for number in _NUMBER.findall(fact)}
    foreign = [number for number in _NUMBER.findall(text) if _plain(number) not in given and len(_plain(number)) > 2]
    if foreign:
        return f"it has numbers that are not among the facts: {', '.join(foreign[:5])}"
    return None


def _plain(number: str) -> str:
    return number.replace(",", "").rstrip(".")


def preview(text: str) -> str:
    """The first lines, for those who do not pay."""
    lines = text.splitlines()
    shown = "\n".join(lines[:_PREVIEW_LINES])
    return shown if len(lines) <= _PREVIEW_LINES and len(shown) <= 500 else shown[:500].rstrip() + " …"
