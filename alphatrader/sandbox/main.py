"""The sandbox process: the simulated market, the broker's gateway in front of it, the vendors' HTTP stand-ins.

Started by the line `sandbox`; speaks only the vendors' protocols and knows nothing of Redis. Writes `data/sandbox/broker/`
(ledger, wire log), `data/sandbox/vendors/` and `data/sandbox/truth.jsonl`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from flask import Blueprint, jsonify, request

from alphatrader.contract.modules import Module
from alphatrader.contract.settings.system import Sandbox
from alphatrader.runtime.audit_file import SUFFIX
from alphatrader.runtime.context import Context, process_context
from alphatrader.runtime.secrets import Secrets
from alphatrader.runtime.settings import ROOT
from alphatrader.sandbox.gateway.config import GatewayConfig
from alphatrader.sandbox.gateway.gateway import Gateway
from alphatrader.sandbox.gateway.limits import Limits
from alphatrader.sandbox.gateway.replay import lobster
from alphatrader.sandbox.gateway.replay.audit import Recording, log_files
from alphatrader.sandbox.gateway.replay.pace import Pace
from alphatrader.sandbox.gateway.replay.replayed import ReplayedMarket
from alphatrader.sandbox.gateway.scenario import ScenarioError
from alphatrader.sandbox.market import SimulatedMarket, TruthLog
from alphatrader.sandbox.market.types import Market
from alphatrader.sandbox.shared import SharedMarket
from alphatrader.sandbox.vendors.app import VendorServer, create_app
from alphatrader.sandbox.vendors.world import VendorCredentials, VendorWorld

_CHANNELS = ("premium", "basic", "free", "operator")


def _folder(base: Path, name: str) -> Path:
    folder = base / name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def credentials(secrets: Secrets, pages_url: str) -> VendorCredentials:
    """What the stand-ins accept: the same values the product was given."""
    webhooks = {channel: secrets.require(f"discord_{channel}").split("/", 1) for channel in _CHANNELS}
    return VendorCredentials(
        alphavantage_key=secrets.require("alphavantage_key"),
        discord_webhooks={channel: (parts[0], parts[1]) for channel, parts in webhooks.items()},
        telegram_token=secrets.require("telegram_token"),
        x_consumer_key=secrets.require("x_consumer_key"),
        x_consumer_secret=secrets.require("x_consumer_secret"),
        x_access_token=secrets.require("x_access_token"),
        x_access_token_secret=secrets.require("x_access_secret"),
        stripe_secret_key=secrets.require("stripe_key"),
        stripe_webhook_secret=secrets.require("stripe_webhook_secret"),
        stripe_webhook_url=f"{pages_url}/stripe/webhook",
        openai_key=secrets.require("openai_key"),
    )


def _fault_door(gateway: Gateway, loop: asyncio.AbstractEventLoop) -> Blueprint:
    """`POST /sandbox/gateway {"do": "drop", ...}`: the gateway's faults, for tests and for trying things by hand."""
    door = Blueprint("gateway_faults", __name__)

    @door.post("/sandbox/gateway")
    def inject() -> Any:
        wanted = dict(request.get_json(force=True))
        kind = wanted.pop("do", "")

        async def do() -> None:
            gateway.inject(kind, **wanted)

        try:
            asyncio.run_coroutine_threadsafe(do(), loop).result(5)
        except (ValueError, TypeError, KeyError) as error:
            return jsonify(error=str(error)), 400
        return jsonify(done=kind)

    return door


def replay(sandbox: Sandbox, market: Market, start_ns: int) -> tuple[Recording | None, Market, Pace | None]:
    """What `sandbox.replay` names: an audit log beside the market, or a LOBSTER file as one symbol of it. Raises SystemExit: it
    cannot be played, and why."""
    if not sandbox.replay:
        return None, market, None
    path = ROOT / sandbox.replay
    try:
        if not path.exists():
            raise ValueError(f"{path}: there is no such file or folder")
        if path.is_dir() or path.suffix == SUFFIX:
            recording = Recording(log_files(path), start_ns=start_ns, speed=sandbox.replay_speed)
            return recording, market, recording.pace
        events = lobster.read(path)
    except (OSError, ValueError) as error:
        raise SystemExit(f"sandbox.replay: {error}") from error
    found = market.contracts(symbol=sandbox.replay_symbol, sec_type="STK")
    if not found:
        raise SystemExit(f"sandbox.replay_symbol: the market has no stock {sandbox.replay_symbol!r}")
    replayed = ReplayedMarket(market, found[0].con_id, events, start_ns=start_ns, speed=sandbox.replay_speed)
    return None, replayed, replayed.pace


def _config(sandbox: Sandbox) -> GatewayConfig:
    return GatewayConfig(
        ports=sandbox.gateway_ports,
        account=sandbox.account,
        equity=Decimal(str(sandbox.equity_usd)),
        limits=Limits(
            market_data_lines=sandbox.market_data_lines,
            depth=sandbox.depth_subscriptions,
            tick_by_tick=sandbox.tick_subscriptions,
        ),
        depth_mode=sandbox.depth_style,
        depth_modes=sandbox.depth_style_by_symbol,
        log_all_frames=sandbox.wire_log == "all",
        scenario=ROOT / sandbox.scenario if sandbox.scenario else None,
    )


def _world(context: Context, shared: SharedMarket) -> VendorWorld:
    return VendorWorld(
        market=cast(Market, shared),
        now_ns=context.clock.market_ns,
        machine_s=lambda: context.clock.machine_ns() / 1e9,
        data_dir=_folder(context.data_dir, "vendors"),
        credentials=credentials(context.secrets, context.settings.web.pages_url),
        market_lock=shared.lock,
    )


async def _live(context: Context) -> None:
    sandbox, clock = context.settings.sandbox, context.clock
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    market = SimulatedMarket(
        seed=sandbox.seed,
        start_ns=clock.market_ns(),
        sessions=[(session.day, session.open_ns, session.close_ns) for session in context.calendar.sessions],
        truth=TruthLog(context.data_dir / "truth.jsonl"),
    )
    recording, shown, pace = replay(sandbox, market, clock.market_ns())
    shared = SharedMarket(shown)
    try:
        gateway = Gateway(
            cast(Market, shared),
            _config(sandbox),
            now_ns=clock.market_ns,
            machine_ns=clock.machine_ns,
            data_dir=_folder(context.data_dir, "broker"),
            recording=recording,
            pace=pace,
        )
    except ScenarioError as error:
        raise SystemExit(f"sandbox.scenario: {error}") from error
    app = create_app(_world(context, shared))
    app.register_blueprint(_fault_door(gateway, loop))
    vendors = VendorServer(app, "127.0.0.1", sandbox.http_port)
    await gateway.start()
    vendors.start()
    context.log.info(
        "sandbox_ready", gateways=list(gateway.ports), outbox=f"http://127.0.0.1:{vendors.port}/outbox", speed=clock.speed
    )
    await stopping.wait()
    await gateway.stop()
    await asyncio.to_thread(vendors.stop)
    context.log.info("stopped")


def main() -> None:
    context = process_context(Module.SANDBOX)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_live(context))
