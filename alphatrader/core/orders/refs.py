"""orderRefs: the name an order has at the broker and in `ledger:orders`.

An intent's entry bears the intent's id; what belongs to it bears the id with `/stop`, `/target` or `/exit-1`, `/stop-2`, ...
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

Role = Literal["entry", "stop", "target", "exit"]

EXTERNAL: Final = "ext-"
"""Intent of a position that was not opened here: `ext-{conId}`."""
FLATTEN: Final = "flatten-"
"""Orders of emergency: `flatten-{epoch}-{conId}`. They belong to no intent."""
_LEAF: Final = re.compile(r"(?P<intent>.+)/(?P<role>stop|target|exit)(?:-(?P<number>\d+))?\Z")


def role_of(ref: str) -> Role:
    match = _LEAF.match(ref)
    return match["role"] if match else "entry"  # type: ignore[return-value]


def intent_of(ref: str) -> str:
    match = _LEAF.match(ref)
    return match["intent"] if match else ref


def is_ours(ref: str) -> bool:
    """Whether the ref names an intent that was opened here."""
    return bool(ref) and not ref.startswith((EXTERNAL, FLATTEN))


def external(con_id: int) -> str:
    return f"{EXTERNAL}{con_id}"


def child(intent_id: str, role: Literal["stop", "target", "exit"], taken: Iterable[str]) -> str:
    """The next free ref of that role: a ref is never used twice, so that the broker's answer about it has one meaning."""
    taken = set(taken)
    first = f"{intent_id}/{role}"
    if role != "exit" and first not in taken:
        return first
    number = 1 if role == "exit" else 2
    while f"{first}-{number}" in taken:
        number += 1
    return f"{first}-{number}"
