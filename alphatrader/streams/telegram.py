"""TelegramBot: commands of subscribers and of the operator, in private chats.

Polls Telegram; reads `telegram:user:{id}:tier`, `positions:*`, `global:*` and `global:halt`; writes `control:telegram` (halt,
resume, flatten: only for the users in `vendors.telegram_operators`). Signals are not its work: the delivery tasks send them.
A free user sees nothing that subscribers pay for, a basic one nothing earlier than basic is told. Started by the Procfile line
`telegram`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal, cast

from alphatrader.clients.sending import SendError
from alphatrader.clients.telegram import Handler, Reply, Said, TelegramPoller
from alphatrader.contract import keys as k
from alphatrader.contract.messages.distribution import Tier
from alphatrader.contract.messages.risk import ControlRequest
from alphatrader.contract.modules import Module
from alphatrader.core.distribution.standing import open_positions
from alphatrader.runtime.clock import SECOND, exchange_datetime
from alphatrader.runtime.context import Context
from alphatrader.runtime.links import visitor_links
from alphatrader.runtime.module import StreamModule
from alphatrader.runtime.store import StoreLost

CONFIRM_SECONDS: Final = 60.0
STALE_SECONDS: Final = 300.0
"""A flatten that was said longer ago, while this bot did not listen, closes nothing: what is held now may be something else."""
_RETRY_SECONDS: Final = 5.0
Asked = Literal["halt", "resume", "flatten"]


class TelegramBot(StreamModule):
    name = Module.TELEGRAM

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._token = self.secrets.get("telegram_token")
        self._links = visitor_links(self.secrets.require("session_key"))
        self._operators = frozenset(self.settings.vendors.telegram_operators)
        self._confirming: dict[int, tuple[str, float]] = {}
        """Operator -> the button that would resume, and until when (monotonic)."""
        self._lost: asyncio.Future[None] | None = None

    # -- the loop

    async def recover(self) -> None:
        """It holds nothing: Telegram keeps what was said until it is read."""
        self._confirming.clear()
        self._lost = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        if self._token is None:
            self.health.waiting("no bot token is configured: the bot does nothing")
            await self.stopping.wait()
            return
        while not self.stopping.is_set():
            poller = self._poller(self._token)
            try:
                if await self._start(poller):
                    await self._until_told()
            finally:
                await poller.stop()

    def _poller(self, token: str) -> TelegramPoller:
        commands: dict[str, tuple[str, Handler]] = {
            "start": ("What this is", self._start_command),
            "help": ("What I understand", self._help),
            "status": ("Your tier and the market", self._status),
            "subscribe": ("Prices, and how to subscribe", self._subscribe),
            "halt": ("", self._halt),
            "resume": ("", self._resume),
            "flatten": ("", self._flatten),
        }
        return TelegramPoller(
            self.settings.vendors,
            token,
            commands,
            self._pressed,
            refused=self._on_refused,
            troubled=self._on_trouble,
            failed=self._on_failed,
        )

    async def _start(self, poller: TelegramPoller) -> bool:
        """Whether it polls now; waits a little where Telegram is not there."""
        starting = asyncio.create_task(poller.start())
        asked = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return False
        try:
            starting.result()
        except SendError as error:
            self.health.waiting(f"Telegram: {error}", "vendors")
            self.log.warning("telegram_away", reason=str(error), retry_seconds=_RETRY_SECONDS)
            await self.pause(_RETRY_SECONDS)
            return False
        self.health.ready()
        self.log.info("polling", operators=len(self._operators))
        return True

    async def _until_told(self) -> None:
        """Returns when asked to stop; raises StoreLost when a command met a lost server."""
        asked = asyncio.create_task(self.stopping.wait())
        lost = cast("asyncio.Future[None]", self._lost)
        either: set[asyncio.Future[Any]] = {asked, lost}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if lost.done():
            lost.result()

    def _on_refused(self, reason: str) -> None:
        self.health.count("refused updates")
        self.log.warning("update_refused", source="telegram", reason=reason)

    def _on_trouble(self, reason: str) -> None:
        self.health.count("polls failed")
        self.health.fact("last failed poll", reason)
        self.log.warning("poll_failed", reason=reason)

    def _on_failed(self, error: Exception) -> None:
        self.health.count("commands failed")
        if isinstance(error, StoreLost) and self._lost is not None:
            if not self._lost.done():
                self._lost.set_exception(error)
            return
        self.log.error("command_failed", error=type(error).__name__, exc_info=None if isinstance(error, SendError) else error)

    # -- everyone's commands

    def _reply(self, *lines: str, buttons: tuple[tuple[str, str], ...] = ()) -> Reply:
        return Reply("\n".join(lines) + f"\n\n{self.settings.distribution.disclaimer}", buttons)

    async def _start_command(self, said: Said) -> Reply:
        return self._reply(
            "AlphaTrader sends the options signals of one automated trader.",
            f"Free: up to {self.settings.distribution.free_per_day} teasers a day, late.",
            "/subscribe for more, /help for what I understand.",
        )

    async def _help(self, said: Said) -> Reply:
        lines = ["/status: your tier and the market", "/subscribe: prices, and how to subscribe", "/help: this"]
        if said.user_id in self._operators:
            lines += [
                "/halt [reason]: stop opening positions",
                "/resume: allow it again (asks)",
                "/flatten [reason]: halt, cancel every order, close everything",
            ]
        return self._reply(*lines)

    async def _status(self, said: Said) -> Reply:
        tier = await self._tier(said.user_id)
        now_ns = self.clock.market_ns()
        lines = [f"Your tier: {tier}", self._market(now_ns)]
        bounds = [bound async for bound in self.store.scan(k.POSITIONS)] if tier != "free" else []
        held = [position for position in await self.store.get_many(bounds) if position is not None]
        count = open_positions(held, tier, now_ns, self.settings.distribution)
        if count is not None:
            as_of = "" if tier == "premium" else f", {self.settings.distribution.basic_delay_seconds:g} s ago"
            lines.append(f"Open positions: {count}{as_of}")
        if said.user_id in self._operators:
            lines += await self._operator_status()
        return self._reply(*lines)

    async def _operator_status(self) -> list[str]:
        halt = await self.store.get(k.HALT.at())
        summary = await self.store.get(k.POSITIONS_SUMMARY.at())
        halted = "halted, no halt record" if halt is None else f"halted: {halt.reason}" if halt.halted else "not halted"
        if summary is None:
            return ["Operator:", halted, "positions: not known"]
        unrealized = "not known" if summary.unrealized is None else f"{summary.unrealized:+,.2f} USD"
        return [
            "Operator:",
            halted,
            f"{summary.open} open; realized today {summary.realized_today:+,.2f} USD, unrealized {unrealized}",
            "positions agree with the broker" if summary.reconciled else "positions DIFFER from the broker",
        ]

    def _market(self, now_ns: int) -> str:
        session = self.calendar.at(now_ns)
        if session is not None:
            return f"The market is open until {session.closes} New York time."
        upcoming = self.calendar.current(now_ns)
        if upcoming.close_ns <= now_ns:
            upcoming = self.calendar.next(upcoming)
        return f"The market is closed; it opens {upcoming.day:%A} {upcoming.day.isoformat()} at {upcoming.opens} New York time."

    async def _subscribe(self, said: Said) -> Reply:
        billing, told = self.settings.billing, self.settings.distribution
        return self._reply(
            f"Premium, ${billing.premium_usd} a month: every signal at once, with targets and reasons.",
            f"Basic, ${billing.basic_usd} a month: every signal {told.basic_delay_seconds:g} s later.",
            f"Your link: {self.settings.web.pages_url}/subscribe?telegram={self._links.dumps(said.user_id)}",
            "It knows you by your Telegram account: do not pass it on.",
        )

    async def _tier(self, user_id: int) -> Tier:
        held = await self.store.get(k.TELEGRAM_TIER.at(id=user_id))
        return held.held_at(self.clock.machine_ns()) if held is not None else "free"

    # -- the operator's commands

    async def _halt(self, said: Said) -> Reply:
        return await self._control(said, "halt", "Halt asked for: no new positions. /resume to allow them again.")

    async def _flatten(self, said: Said) -> Reply:
        age = self.clock.machine_ns() / SECOND - said.said_s if said.said_s is not None else 0.0
        if age > STALE_SECONDS and said.user_id in self._operators:
            self.health.count("stale commands")
            answer = (
                f"You said /flatten {age / 60:.0f} min ago and I hear it only now: halted instead. Say it again to close all."
            )
            return await self._control(said, "halt", answer)
        return await self._control(said, "flatten", "Flatten asked for: every order is cancelled and every position closed.")

    async def _resume(self, said: Said) -> Reply:
        """Asks first: only halting is a single step."""
        if said.user_id not in self._operators:
            return self._not_yours(said)
        button = f"resume:{said.update_id}"
        self._confirming[said.user_id] = (button, self.clock.monotonic() + CONFIRM_SECONDS)
        halt = await self.store.get(k.HALT.at())
        why = "Why it is halted is not known." if halt is None else f"Halted by {halt.by}: {halt.reason}" if halt.halted else ""
        question = f"Allow new positions again? The button works for {CONFIRM_SECONDS:g} s."
        return self._reply(*filter(None, (why, question)), buttons=(("Yes, resume", button),))

    async def _pressed(self, said: Said) -> Reply:
        if said.user_id not in self._operators:
            return self._not_yours(said)
        button, until = self._confirming.pop(said.user_id, ("", 0.0))
        if said.words != (button,) or self.clock.monotonic() > until:
            return self._reply("This button has no effect any more. Send /resume again.")
        resume = Said(said.update_id, said.user_id, ())
        return await self._control(resume, "resume", "Resume asked for. /status shows whether it took effect.")

    def _not_yours(self, said: Said) -> Reply:
        self.health.count("commands refused")
        self.log.warning("command_refused", user=said.user_id)
        return self._reply("This command is the operator's.")

    async def _control(self, said: Said, kind: Asked, answer: str) -> Reply:
        if said.user_id not in self._operators:
            return self._not_yours(said)
        request = ControlRequest(
            id=f"telegram-{said.update_id}",
            kind=kind,
            by=f"operator {said.user_id} on Telegram",
            reason=" ".join(said.words)[:200] or f"/{kind}",
            machine_ns=self.clock.machine_ns(),
            ts_ns=self.clock.market_ns(),
        )
        batch = self.store.batch()
        batch.append(k.CONTROL.at(module=self.name), request)
        try:
            await self.store.commit(batch)
        except StoreLost as error:
            self._on_failed(error)
            return self._reply(f"NOT DONE: the state server cannot be reached, nobody heard your {kind}. Use the command line.")
        self.health.count(f"asked {kind}")
        self.log.warning(
            "control_asked", kind=kind, by=request.by, reason=request.reason, at=f"{exchange_datetime(request.ts_ns)}"
        )
        return self._reply(answer)
