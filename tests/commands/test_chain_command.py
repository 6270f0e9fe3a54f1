"""`alphatrader chain` on saved answers: what it prints is what QuantLib's greeks sum to; bad files are told apart."""

from __future__ import annotations

import gzip
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import QuantLib

from tests.commands.conftest import Command

SPOT, RATE = 660.3, 0.04
AT = "2026-11-18T10:30"


def option(expiration: str, strike: float, kind: str, interest: int, **other: Any) -> dict[str, Any]:
    """A row as the vendor writes it: every field a string."""
    name = f"SPY{expiration[2:].replace('-', '')}{kind[0].upper()}{round(strike * 1000):08d}"
    sign = 1 if kind == "call" else -1
    row = {
        "contractID": name, "symbol": "SPY", "expiration": expiration, "strike": f"{strike:.2f}", "type": kind, "last": "1.05",
        "mark": "1.05", "bid": "1.00", "bid_size": "10", "ask": "1.10", "ask_size": "10", "volume": "12",
        "open_interest": str(interest), "date": "2026-11-18", "implied_volatility": "0.20000", "delta": f"{0.4 * sign:.5f}",
        "gamma": "0.01000", "theta": "-0.10000", "vega": "0.20000", "rho": "0.01000",
    }  # fmt: skip
    return {name: value for name, value in (row | other).items() if value is not None}


def save(folder: Path, rows: list[dict[str, Any]], **envelope: Any) -> str:
    path = folder / "answer.json"
    path.write_text(json.dumps({"endpoint": "Realtime Options", "message": "success", "data": rows} | envelope))
    return str(path)


ROWS = [
    option(expiration, strike, kind, 10 * number + (500 if kind == "call" else max(0, 3000 - 500 * number)))
    for expiration in ("2026-11-18", "2026-11-27", "2026-12-18")
    for number, strike in enumerate(range(630, 691, 5))
    for kind in ("call", "put")
]
CLOSES = {"2026-11-18": 21, "2026-11-27": 18, "2026-12-18": 21}
"""UTC hour of each close: the day after Thanksgiving ends at 13:00 in New York."""


def gamma_delta(row: dict[str, Any], spot: float) -> tuple[float, float]:
    """By QuantLib, with the time to the session's close over 365 days."""
    close = datetime.fromisoformat(row["expiration"]).replace(hour=CLOSES[row["expiration"]], tzinfo=UTC)
    years = (close - datetime(2026, 11, 18, 15, 30, tzinfo=UTC)).total_seconds() / 86_400 / 365
    kind = QuantLib.Option.Call if row["type"] == "call" else QuantLib.Option.Put
    black = QuantLib.BlackCalculator(
        QuantLib.PlainVanillaPayoff(kind, float(row["strike"])), spot * math.exp(RATE * years), 0.2 * math.sqrt(years),
        math.exp(-RATE * years),
    )  # fmt: skip
    return black.gamma(spot), black.delta(spot)


def net_gamma(rows: list[dict[str, Any]], spot: float) -> float:
    return sum((1 if r["type"] == "call" else -1) * gamma_delta(r, spot)[0] * int(r["open_interest"]) for r in rows)


def test_a_saved_answer_gives_the_sums_its_rows_give_alone(run: Command, tmp_path: Path) -> None:
    # given a chain over an expiry day, a half day and a whole one; and rows that are none
    bad = [
        option("2026-11-17", 660, "call", 5),
        option("2026-11-21", 660, "call", 5),
        option("2099-99-99", 660, "call", 5, contractID="SPY999999C00660000"),
        option("2026-12-18", 661, "call", 5, gamma="-0.1"),
        option("2026-12-18", 662, "put", 5, delta="-1.5"),
        option("2026-12-18", 663, "put", 5, implied_volatility=None, delta=None, gamma=None),
        option("2026-12-18", 664, "call", 5, open_interest="many"),
        ROWS[-1],
    ]
    path = save(tmp_path, ROWS + bad)
    # when it is asked for
    answer = run("chain", path, "--spot", str(SPOT), "--at", AT, "--rate", str(RATE), "--json")
    # then totals, expiries and the flip are QuantLib's
    assert answer.code == 0, answer.err
    told = answer.json()
    one_pct = {
        id(r): (1 if r["type"] == "call" else -1) * gamma_delta(r, SPOT)[0] * int(r["open_interest"]) * SPOT**2 for r in ROWS
    }
    assert told["rows"] == len(ROWS)
    assert told["gex_1pct"] == pytest.approx(sum(one_pct.values()), rel=1e-9)
    for expiration in CLOSES:
        expected = sum(one_pct[id(r)] for r in ROWS if r["expiration"] == expiration)
        assert told["by_expiry"][expiration.replace("-", "")] == pytest.approx(expected, rel=1e-9)
    assert told["zero_dte_1pct"] == pytest.approx(told["by_expiry"]["20261118"], rel=1e-12)
    dex = sum(gamma_delta(r, SPOT)[1] * int(r["open_interest"]) * 100 * SPOT for r in ROWS)
    assert told["dex_net"] == pytest.approx(dex, rel=1e-9)
    flip = told["flip"]
    assert flip is not None and net_gamma(ROWS, flip - 0.001) * net_gamma(ROWS, flip + 0.001) < 0
    # and every row that is none is told with its reason
    assert told["dropped_total"] == len(bad) and sum(told["dropped"].values()) == len(bad)
    # and an instant with its zone is the same instant; the table says the same
    same = run("chain", path, "--spot", str(SPOT), "--at", "2026-11-18T15:30:00+00:00", "--rate", str(RATE), "--json")
    assert same.json() == told
    table = run("chain", path, "--spot", str(SPOT), "--at", AT, "--rate", str(RATE))
    assert table.code == 0 and f"{flip:.4f}" in table.out and "expired" in table.out


def test_one_side_and_no_interest_have_no_flip_and_no_wall(run: Command, tmp_path: Path) -> None:
    calls = save(tmp_path, [r for r in ROWS if r["type"] == "call"])
    told = run("chain", calls, "--spot", str(SPOT), "--at", AT, "--rate", "0.04", "--json").json()
    assert told["flip"] is None and told["put_wall"] is None and told["call_wall"] is not None
    nothing = save(tmp_path, [r | {"open_interest": "0"} for r in ROWS])
    told = run("chain", nothing, "--spot", str(SPOT), "--at", AT, "--rate", "0.04", "--json").json()
    assert told["gex_1pct"] == 0 and told["flip"] is None and told["call_wall"] is None and told["put_wall"] is None


def test_what_is_no_chain_is_told_with_its_reason(run: Command, tmp_path: Path) -> None:
    def refused(content: str | bytes) -> str:
        path = tmp_path / "bad.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        answer = run("chain", str(path), "--spot", "660", "--at", AT, "--rate", "0.04")
        assert answer.code == 1 and "Traceback" not in answer.err and "bad.json" in answer.err
        return answer.err

    fake = option("2099-99-99", 20, "call", 1) | {"symbol": "XXYYZZ"}
    premium = {"endpoint": "Realtime Options", "message": "This is a premium endpoint. ARTIFICIAL", "data": [fake]}
    assert "not_entitled" in refused(json.dumps(premium))
    assert "empty" in refused(json.dumps(premium | {"message": "success"}))
    assert "truncated" in refused('{"endpoint": "Realtime Options", "data": [')
    assert "not_json" in refused("not json")
    assert "the file is empty" in refused("")
    assert "gzip" in refused(gzip.compress(json.dumps(premium).encode()))
    rowless = {"endpoint": "Realtime Options", "message": "success", "data": [1, "x", None, [2]]}
    assert "no usable row of 4 for any symbol (bad row 4)" in refused(json.dumps(rowless))
    assert "wrong_shape" in refused(json.dumps(rowless | {"data": {"a": 1}}))
    expired = json.dumps({"endpoint": "Realtime Options", "message": "success", "data": [option("2026-11-17", 660, "call", 5)]})
    assert "expired 1" in refused(expired)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--spot", "0", "--at", AT), "--spot"),
        (("--spot", "nan", "--at", AT), "--spot"),
        (("--spot", "1e300", "--at", AT), "--spot"),
        (("--spot", "660", "--at", "yesterday"), "--at"),
        (("--spot", "660", "--at", "1990-01-02"), "--at"),
        (("--spot", "660", "--at", AT, "--rate", "inf"), "--rate"),
    ],
)
def test_wrong_use_is_told(run: Command, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    answer = run("chain", save(tmp_path, ROWS), *arguments)
    assert answer.code == 2 and said in answer.err
    assert run("chain", str(tmp_path / "none.json"), "--spot", "660", "--at", AT).code == 2


def test_every_row_left_out_is_named_with_its_reason(run: Command, tmp_path: Path) -> None:
    bad = [
        option("2026-11-17", 650, "call", 9),  # expired yesterday
        option("2026-11-28", 650, "call", 9),  # a Saturday
        option("2026-11-27", 655, "put", 9, implied_volatility="0.00000"),
        option("2026-11-27", 655, "call", -9),
        option("2026-11-27", 1, "call", 9, gamma="NaN"),
        option("2026-11-27", 2, "call", 9, delta="1.50000"),
        option("2026-11-27", 3, "put", 9) | {"strike": "nan"},
        option("2026-11-27", 4, "put", 9, contractID=None),
        option("2026-13-27", 5, "put", 9),
        option("2026-11-27", 6, "put", 9, contractID="SPY1261127P00006000"),  # adjusted
    ]
    twice = [row for row in ROWS if row["strike"] != "655.00"]
    path = save(tmp_path, [*twice, *bad, twice[0]])
    result = run("chain", path, "--spot", str(SPOT), "--at", AT, "--rate", str(RATE), "--json")
    assert result.code == 0
    told = json.loads(result.out)
    named = {(one["row"], one["reason"]) for one in told["dropped_rows"]}
    assert named == {
        ("SPY261117C00650000", "expired"),
        ("SPY261128C00650000", "expiry without session"),
        ("SPY261127P00655000", "no usable implied volatility"),
        ("SPY261127C00655000", "open_interest"),
        ("SPY261127C00001000", "gamma"),
        ("SPY261127C00002000", "delta"),
        ("SPY261127P00003000", "strike"),
        (f"row {len(twice) + 8}", "contractID"),
        (bad[8]["contractID"], "expiration"),
        ("SPY1261127P00006000", "contractID"),
        (twice[0]["contractID"], "twice"),
    }
    assert told["dropped_total"] == len(told["dropped_rows"]) == 11
    assert "expired: SPY261117C00650000" in run("chain", path, "--spot", str(SPOT), "--at", AT, "--rate", str(RATE)).out


def test_an_indexs_monthly_options_end_with_the_open_of_their_friday(run: Command, tmp_path: Path) -> None:
    def index(row: dict[str, Any]) -> dict[str, Any]:
        return row | {"symbol": "SPX", "contractID": row["contractID"].replace("SPY", "SPX")}

    rows = [index(option("2026-11-20", 660, kind, 100)) for kind in ("call", "put")]
    path = save(tmp_path, rows)
    found = json.loads(run("chain", path, "--spot", "660", "--at", "2026-11-20T09:00", "--rate", "0", "--json").out)
    half_an_hour = 0.5 / 24 / 365
    gamma = QuantLib.BlackCalculator(
        QuantLib.PlainVanillaPayoff(QuantLib.Option.Call, 660.0), 660.0, 0.2 * math.sqrt(half_an_hour), 1.0
    ).gamma(660.0)
    assert found["gross_1pct"] == pytest.approx(2 * gamma * 100 * 100 * 660**2 * 0.01)
    late = run("chain", path, "--spot", "660", "--at", "2026-11-20T09:30", "--rate", "0")
    assert late.code == 1 and "expired 2" in late.err
