"""Settings of what is seen and measured: market, options, discovery, analytics."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from alphatrader.contract.settings.system import Seconds, Section, Url

Share = Annotated[float, Meta(ge=0, le=1)]
Symbol = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9.]{0,11}$")]


class Future(Section, frozen=True):
    root: Annotated[str, Meta(min_length=1, description="Our name, such as VX.")]
    symbol: Annotated[str, Meta(min_length=1, description="The broker's symbol, such as VIX.")]
    exchange: Annotated[str, Meta(min_length=1, description="The broker's exchange.")]
    multiplier: Annotated[float, Meta(gt=0, description="Dollars a point.")]
    trading_class: Annotated[str, Meta(description="Trading class, where the symbol alone is ambiguous.")] = ""


class Index(Section, frozen=True):
    name: Annotated[str, Meta(min_length=1, description="Our name.")]
    symbol: Annotated[str, Meta(min_length=1, description="The broker's symbol.")]
    exchange: Annotated[str, Meta(min_length=1, description="The broker's exchange.")]
    currency: Annotated[str, Meta(min_length=3, description="Currency.")]


class Market(Section, frozen=True):
    equities: Annotated[tuple[Symbol, ...], Meta(min_length=1, description="The underlyings, most important first.")]
    futures: Annotated[tuple[Future, ...], Meta(description="Futures with depth and analytics.")]
    quote_only_futures: Annotated[tuple[Future, ...], Meta(description="Futures of the morning note.")]
    indices: Annotated[tuple[Index, ...], Meta(description="Foreign indices of the morning note, quotes only.")]
    etfs: Annotated[tuple[str, ...], Meta(description="Which of the equities are funds: other thresholds for unusual activity.")]
    ttl_seconds: Annotated[float, Meta(ge=1, le=5, description="Life of a market key without its feed.")] = 1.0
    renew_seconds: Annotated[float, Meta(gt=0, lt=1, description="How often a living feed renews its keys.")] = 0.3
    quiet_seconds: Annotated[Seconds, Meta(description="A feed silent this long is stale.")] = 5.0
    quiet_seconds_by_symbol: Annotated[dict[str, Seconds], Meta(description="Exceptions for instruments that trade rarely.")] = {}  # noqa: RUF012
    depth_rows: Annotated[
        int, Meta(ge=1, le=20, description="Rows a side asked of the broker; several venues share a price.")
    ] = 20
    market_data_lines: Annotated[int, Meta(ge=1, description="Lines the account has.")] = 100
    depth_slots: Annotated[int, Meta(ge=0, description="Depth subscriptions the account has.")] = 3
    maker_slots: Annotated[
        int,
        Meta(ge=0, description="How many of the depth subscriptions show one exchange's own book, which names market makers."),
    ] = 0
    maker_exchange: Annotated[
        str, Meta(min_length=1, description="The broker's name of that exchange: only NASDAQ's rows carry names.")
    ] = "ISLAND"
    tick_slots: Annotated[int, Meta(ge=0, description="Tick-by-tick subscriptions the account has.")] = 3
    pinned: Annotated[
        tuple[str, ...],
        Meta(description="Symbols that keep depth and tick-by-tick, most important first; the others take turns."),
    ] = ()

    @property
    def future_roots(self) -> tuple[str, ...]:
        """Of all futures, those with analytics first."""
        return tuple(future.root for future in (*self.futures, *self.quote_only_futures))

    @property
    def instruments(self) -> tuple[str, ...]:
        """The names of all that is quoted, in the order in which people are shown them."""
        return (*self.equities, *self.future_roots, *(index.name for index in self.indices))

    def __post_init__(self) -> None:
        if self.maker_slots > self.depth_slots:
            raise ValueError(f"maker_slots: {self.maker_slots} of {self.depth_slots} depth_slots")
        twice = sorted({symbol for symbol in self.equities if self.equities.count(symbol) > 1})
        if twice:
            raise ValueError(f"equities: more than once: {', '.join(twice)}")
        unknown = set(self.pinned) - set(self.equities) - {future.root for future in self.futures}
        if unknown:
            raise ValueError(f"pinned: neither an equity nor a future with depth: {', '.join(sorted(unknown))}")


class Options(Section, frozen=True):
    base_url: Annotated[Url, Meta(description="Alpha Vantage's address.")]
    calls_per_minute: Annotated[
        int, Meta(ge=1, le=590, description="Calls in any 60 s over all processes; the vendor's limit is 600.")
    ] = 590
    refresh_seconds: Annotated[Seconds, Meta(description="A chain is asked for again after this long; its keys live 10 s.")] = 5.0
    sentiment_refresh_seconds: Annotated[Seconds, Meta(description="News are asked for again after this long.")] = 120.0
    min_quality: Annotated[Share, Meta(description="Share of good rows below which no signal may use a chain.")] = 0.9
    risk_free_rate: Annotated[float, Meta(ge=-0.05, le=0.3, description="Continuous annual rate for greeks.")] = 0.04
    unusual_min_premium_usd: Annotated[float, Meta(ge=0, description="Least premium of an unusual contract.")] = 50_000.0
    unusual_min_premium_etf_usd: Annotated[float, Meta(ge=0, description="The same for funds.")] = 250_000.0
    timeout_seconds: Annotated[Seconds, Meta(description="Longest wait for an answer.")] = 5.0
    max_answer_bytes: Annotated[int, Meta(gt=0, description="Larger answers, unpacked, are refused.")] = 32_000_000
    max_rows: Annotated[int, Meta(ge=1, description="A chain of more contracts is refused; SPY lists about 12,000.")] = 20_000


class Discovery(Section, frozen=True):
    hour: Annotated[int, Meta(ge=0, le=23, description="New York hour of the nightly run.")] = 20
    seed: Annotated[int, Meta(description="Seed of the clustering.")] = 7
    history_days: Annotated[int, Meta(ge=2, le=250, description="Sessions of bars that are read.")] = 20
    min_trades: Annotated[int, Meta(ge=100, description="Fewer prints than this fall back to volume / 50.")] = 1000
    recorded_sessions: Annotated[int, Meta(ge=1, le=20, description="Newest sessions of the audit log that are read.")] = 1
    jump_share: Annotated[
        float,
        Meta(gt=0, le=10, description="A value that grew or shrank by more than this share waits for a second night or a yes."),
    ] = 0.5
    jump_correlation: Annotated[
        float, Meta(gt=0, le=2, description="So does the correlation matrix, where a pair moved by more than this.")
    ] = 0.3


OBI_PARTS: Final = frozenset({"volume", "pressure", "slope", "ofi", "micro"})
MARKET_MAKERS: Final = {
    "CDRG": "Citadel Securities",
    "NITE": "Virtu",
    "VIRT": "Virtu",
    "ETMM": "G1 (Susquehanna)",
    "SOHO": "Two Sigma",
    "JNST": "Jane Street",
    "HRTF": "Hudson River",
    "UBSS": "UBS",
    "GSCO": "Goldman Sachs",
    "MSCO": "Morgan Stanley",
}
"""MPIDs as NASDAQ shows them beside attributed quotes; firms as commonly listed, not checked against FINRA's directory."""
SWEEP_PARTS: Final = frozenset({"notional", "venues", "levels", "f_share"})


class Analytics(Section, frozen=True):
    shards: Annotated[
        int, Meta(ge=1, le=99, description="Processes that share the symbols, every n-th each; at most one a symbol.")
    ] = 1
    publish_seconds: Annotated[float, Meta(ge=0.02, le=1, description="Least time between two metrics events of a symbol.")] = 0.1
    vpin_buckets: Annotated[int, Meta(ge=5, le=500, description="Full buckets in a VPIN.")] = 50
    vpin_adjustment: Annotated[
        float, Meta(ge=0, le=0.25, description="Most that spread and markout move vpin_adj from vpin, as a share of it.")
    ] = 0.25
    book_levels: Annotated[int, Meta(ge=1, le=10, description="Levels a side in the book imbalance.")] = 10
    obi_alpha: Annotated[float, Meta(ge=0, le=5, description="Decay of the level weights exp(-alpha (i-1)).")] = 0.5
    obi_weights: Annotated[
        dict[str, float], Meta(description="Weights of volume, pressure, slope, ofi, micro in the composite; they add up to 1.")
    ] = msgspec.field(default_factory=lambda: {"volume": 0.3, "pressure": 0.2, "slope": 0.1, "ofi": 0.25, "micro": 0.15})
    ofi_window_seconds: Annotated[Seconds, Meta(description="Window of the order-flow imbalance.")] = 10.0
    sweep_window_ms: Annotated[int, Meta(ge=1, le=5000, description="Prints closer than this may be one sweep.")] = 100
    sweep_percentile: Annotated[
        float,
        Meta(ge=0, le=100, description="Of its own runs of prints, by notional: what a sweep without F must reach."),
    ] = 80.0
    sweep_weights: Annotated[
        dict[str, float],
        Meta(description="Weights of notional, venues, levels, f_share in a sweep's strength; sum 1."),
    ] = msgspec.field(default_factory=lambda: {"notional": 0.3, "venues": 0.2, "levels": 0.1, "f_share": 0.4})
    adx_period: Annotated[int, Meta(ge=2, le=100, description="Minutes of Wilder's directional index in the regime.")] = 14
    flip_range: Annotated[
        float, Meta(gt=0, le=0.5, description="Share of spot searched for the zero-gamma flip, either way.")
    ] = 0.1
    market_makers: Annotated[
        dict[str, str], Meta(description="MPID and firm of whose attributed quotes count as market makers' interest.")
    ] = msgspec.field(default_factory=lambda: dict(MARKET_MAKERS))
    checkpoint_seconds: Annotated[Seconds, Meta(description="How often the folded state is kept.")] = 10.0
    recover_seconds: Annotated[
        float,
        Meta(ge=0, le=600, description="Longest wait for word of events that were missed and are made again. 0: they are not."),
    ] = 120.0
    recover_span_seconds: Annotated[
        float, Meta(ge=0, description="A gap longer than this, in market time, is told and not recovered.")
    ] = 900.0

    def __post_init__(self) -> None:
        for name, weights, parts in (
            ("obi_weights", self.obi_weights, OBI_PARTS),
            ("sweep_weights", self.sweep_weights, SWEEP_PARTS),
        ):
            unknown = weights.keys() - parts
            if unknown:
                raise ValueError(f"{name}: no such part: {', '.join(sorted(unknown))}")
            # Negated, so that NaN is refused: it compares false with everything.
            if not (all(weight >= 0 for weight in weights.values()) and abs(sum(weights.values()) - 1) < 1e-9):
                raise ValueError(f"{name}: must be at least 0 and add up to 1, not to {sum(weights.values()):g}")
