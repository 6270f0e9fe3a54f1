"""Market-data frames: exact fields to whoever asked, and a bad field refused by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from alphatrader.clients.ibkr.handlers import Handlers


class Heard:
    """A feed that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **named: self.told.append((name, *args, *named.values()))


@dataclass
class Wire:
    heard: Heard = field(default_factory=Heard)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.line = SimpleNamespace(feed=self.heard, fresh=False)
        self.handlers: dict[int, Any] = {}
        Handlers({7: self.line}, self.refused.append).install(self.handlers)  # type: ignore[dict-item]

    def frame(self, *fields: Any) -> None:
        texts = [str(value) for value in fields]
        self.handlers[int(texts[0])](texts)


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        ((1, 6, 7, 1, 660.01, 300, 1), ("tick_price", 1, 660.01, 300.0)),
        ((1, 6, 7, 2, -1.0, 0, 1), ("tick_price", 2, -1.0, 0.0)),
        ((1, 6, 7, 4, 660.01, "", 0), ("tick_price", 4, 660.01, None)),
        ((2, 6, 7, 8, 1234567), ("tick_size", 8, 1234567.0)),
        ((45, 6, 7, 49, -1), ("tick_generic", 49, -1.0)),
        ((46, 6, 7, 48, "1;2;3;4;5;true"), ("tick_text", 48, "1;2;3;4;5;true")),
        ((81, 7, 0.05, "9c0001", 3), ("min_tick", 0.05)),
        ((12, 1, 7, 3, 1, 0, 6000.25, 12), ("depth", 1, 3, 0, 6000.25, 12.0, "", "")),
        ((13, 1, 7, 3, "ARCA", 0, 1, 660.0, 500, 1), ("depth", 0, 3, 1, 660.0, 500.0, "ARCA", "")),
        ((13, 1, 7, 3, "CDRG", 0, 1, 660.0, 500, 0), ("depth", 0, 3, 1, 660.0, 500.0, "", "CDRG")),
        ((13, 1, 7, 0, "ARCA", 2, 1, 0.0, 0, 1), ("depth", 2, 0, 1, 0.0, 0.0, "ARCA", "")),
        (
            (99, 7, 2, 1_800_000_000, 660.01, 100, 2, "ISLAND", "F I"),
            ("trade", 1_800_000_000, 660.01, 100.0, False, True, "ISLAND", "F I"),
        ),
        (
            (50, 3, 7, 1_800_000_000, 1.0, 2.0, 0.5, 1.5, 900, 1.2, 30),
            ("bar", 1_800_000_000, 1.0, 2.0, 0.5, 1.5, 900.0, 1.2, 30),
        ),
        (
            (21, 7, 13, 0, 0.21, 0.5, 4.2, 0.0, 0.02, 0.6, -0.1, 660.0),
            ("option", 13, 0.21, 0.5, 0.02, 0.6, -0.1, 660.0),
        ),
        ((21, 7, 13, 0, -1, -2, -1, -1, -2, -2, -2, -1), ("option", 13, None, None, None, None, None, None)),
    ],
)
def test_a_frame_reaches_who_asked_with_its_exact_fields(frame: tuple[Any, ...], told: tuple[Any, ...]) -> None:
    wire = Wire()
    wire.frame(*frame)
    assert wire.heard.told == [told] and not wire.refused
    # what is about a subscription comes without any data, too, and proves nothing
    assert wire.line.fresh is (told[0] not in ("tick_generic", "min_tick"))


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        ((1, 6, "x", "not a tick"), "reqId 'x'"),
        ((1, 6, 7, 1, "abc", 1, 0), "price 'abc'"),
        ((1, 6, 7, 1, "nan", 1, 0), "price 'nan'"),
        ((1, 6, 7, 1), "price (missing)"),
        ((2, 6, 7, 8, "inf"), "size 'inf'"),
        ((13, 1, 7, "", "ARCA", 0, 1, 660.0, 500, 1), "position ''"),
        ((13, 1, 7, 3, "ARCA", 0, 1, 660.0, 500), "isSmartDepth"),
        ((99, 7, 1, "soon", 660.0, 1, 0, "ARCA", ""), "time 'soon'"),
        ((99, 7, 1, 1_800_000_000, "", 1, 0, "ARCA", ""), "price is missing"),
        ((50, 3, 7, 1_800_000_000, 1.0, "1.7976931348623157E308", 0.5, 1.5, 900, 1.2, 30), "high is missing"),
        ((21, 7, 13), "impliedVol"),
    ],
)
def test_a_bad_field_is_refused_by_its_name_and_nothing_is_told(frame: tuple[Any, ...], named: str) -> None:
    wire = Wire()
    wire.frame(*frame)
    assert wire.heard.told == [] and len(wire.refused) == 1
    assert f"message {frame[0]}" in wire.refused[0] and named in wire.refused[0]


def test_frames_of_cancelled_requests_are_passed_over() -> None:
    wire = Wire()
    wire.frame(1, 6, 8, 1, 660.01, 300, 1)
    assert wire.heard.told == [] and not wire.refused


def test_unset_numbers_are_missing_not_huge() -> None:
    wire = Wire()
    wire.frame(1, 6, 7, 1, "1.7976931348623157E308", 1, 0)
    assert wire.heard.told == [] and not wire.refused
