"""One module of the product for the tick benchmark, in its own process: the real class under the real life cycle and uvloop."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import structlog
import uvloop

from alphatrader.contract.modules import Module
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.context import Context
from alphatrader.runtime.module import live
from alphatrader.runtime.secrets import Secrets
from alphatrader.runtime.settings import data_path, load


def context(told: dict[str, str]) -> Context:
    """What the parent would give: settings from `told`, the module's own password, the benchmark's market time."""
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(Path(told["log"]).open("a"))  # noqa: SIM115 open while the process lives
    )
    settings = load({**told})
    module = Module(told["module"])
    clock = Clock(int(told["market_start_ns"]), int(told["machine_start_ns"]), 1.0)
    secrets = Secrets(module, {told["password_variable"]: told["password"]})
    return Context(module, settings, secrets, clock, nyse(), structlog.get_logger(), data_path(settings))


def main() -> None:
    told = json.loads(sys.argv[1])
    if told["module"] == Module.IBKR:
        from alphatrader.streams.ibkr import IBKRIngestion as Kind
    else:
        from alphatrader.streams.analytics import AnalyticsEngine as Kind  # type: ignore[assignment]

    async def run() -> None:
        await live(Kind(context(told)))

    uvloop.run(run())


if __name__ == "__main__":
    main()
