"""All that discovery found, as it stands in `data/<mode>/discovered.yaml` and in the seed `config/discovered.yaml`.

Light: no scientific package is imported here.
"""

from __future__ import annotations

from typing import Final

import msgspec
import yaml

from alphatrader.contract.messages.metrics import Correlation, Discovered, Parameter


class Matrix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    symbols: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]
    n: int
    fallback: str | None = None
    confidence: float | None = None
    from_ns: int | None = None
    to_ns: int | None = None


class Waiting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that jumped, with the night (trading date) that found it first."""

    parameter: str
    night: str
    jump: str
    """How far, in words."""
    symbol: str | None = None
    value: Parameter | None = None
    matrix: Matrix | None = None
    """Instead of `value`, where the correlation matrix jumped."""


class Found(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    as_of_ns: int
    """Market time the values were computed."""
    with_history: tuple[str, ...]
    """Symbols whose bars were known by then: when more are, it is worth computing again."""
    vpin_bucket_size: dict[str, Parameter]
    lookback_bars: dict[str, Parameter]
    mm_profiles: dict[str, Parameter]
    vol_regimes: dict[str, Parameter]
    correlation_matrix: Matrix
    waiting: tuple[Waiting, ...] = ()
    """What jumped and is not in effect."""


LEFT_OUT: Final = "left out"
PARAMETERS: Final = ("vpin_bucket_size", "lookback_bars", "mm_profiles", "vol_regimes")


class FoundError(ValueError):
    """The text is not what it should be."""


def parse(text: str) -> Found:
    """Raises FoundError, which names the field."""
    try:
        tree = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 a safe loader
        found = msgspec.convert(tree, Found)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise FoundError(str(error)) from error
    matrix = found.correlation_matrix
    if any(len(row) != len(matrix.symbols) for row in (matrix.matrix, *matrix.matrix)):
        raise FoundError(f"correlation_matrix.matrix is not {len(matrix.symbols)} by {len(matrix.symbols)}")
    return found


def render(found: Found) -> str:
    text: str = yaml.dump(
        msgspec.to_builtins(found),
        Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper),
        sort_keys=False,
        default_flow_style=None,
        width=120,
    )
    return text


def messages(found: Found, published_ns: int) -> tuple[dict[str, Discovered], Correlation]:
    """What the keys hold: the four maps by name, and the matrix."""
    maps = {name: Discovered(found.as_of_ns, published_ns, getattr(found, name)) for name in PARAMETERS}
    m = found.correlation_matrix
    matrix = Correlation(
        found.as_of_ns, published_ns, m.symbols, m.matrix, m.n, m.fallback, m.confidence, m.from_ns, m.to_ns
    )  # fmt: skip
    return maps, matrix


def measured(parameter: Parameter) -> bool:
    """Whether the value came from data, in this run or an earlier one, and is no fallback."""
    return parameter.value is not None and (parameter.fallback is None or parameter.fallback.startswith("kept"))


def measured_matrix(matrix: Matrix) -> bool:
    """Whether this run measured it; what names some symbols as left out is measured all the same."""
    return matrix.fallback is None or matrix.fallback.startswith(LEFT_OUT)


def kept(previous: Parameter | None, computed: Parameter) -> Parameter:
    """`computed`, or the value that was known before, marked as kept: where nothing could be computed, and where a fallback on
    fewer data would replace what was once measured."""
    if previous is None or previous.value is None or computed.fallback is None:
        return computed
    before = measured(previous)
    if computed.value is not None and not (before and computed.n < previous.n):
        return computed
    origin = "kept from an earlier run" if before else (previous.fallback or "").split(";")[0]
    return msgspec.structs.replace(previous, fallback=f"{origin}; {computed.fallback}")
