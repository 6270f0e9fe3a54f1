"""Delivery: what is due in the queues goes to each recipient once, through Discord and Telegram; the ledger says how it ended.

`delivery.deliver(queue)` is woken by a countdown task of the distributor; `delivery.sweep()` is beat's, every 5 s, and finds what
a lost wake-up or a dead worker left. Reads the tiers' queues, `telegram:signals:{symbol}:queue`, `telegram:analysis:queue` and
`telegram:user:{id}:tier`; writes `ledger:delivery`; takes an entry from its queue when all its recipients have ended. Not a byte
leaves before the due market time: it is read again before each send. The ledger's line is claimed before the send (HSETNX), so
that of several threads and workers one sends.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Literal

from celery.signals import worker_ready

from alphatrader.clients.discord import DiscordBot
from alphatrader.clients.sending import LimitedError, LostAnswerError, RefusedError, SendError, UnreachableError
from alphatrader.clients.telegram import TelegramSender
from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey, Kind
from alphatrader.contract.messages.distribution import Delivery, DeliveryRecord, Tier
from alphatrader.contract.settings import Settings
from alphatrader.core.distribution import ledger, wording
from alphatrader.core.distribution.ledger import Outcome
from alphatrader.core.distribution.recipients import telegram_recipients
from alphatrader.core.distribution.tiers import TIERS
from alphatrader.runtime.celery_app import AlphaTask, app, context, heartbeat, store
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.health import Heartbeat
from alphatrader.runtime.secrets import Secrets
from alphatrader.runtime.store import Store

QUEUES: Final = (k.PREMIUM_QUEUE, k.BASIC_QUEUE, k.FREE_QUEUE, k.TELEGRAM_ANALYSIS_QUEUE)
EARLY_SECONDS: Final = 2.0
"""Machine time. A task woken this little before an entry's time came for that entry, and comes again."""
AT_ONCE: Final = 100
"""Entries read in one pass."""
TROUBLE_SECONDS: Final = 900.0
"""Machine time for which a lost or refused message keeps the worker degraded."""
RETRY: Final = "#retry"
"""Suffix of the ledger field that claims a further try; dropped with its outcome."""
End = Literal["ended", "hold", "later"]
"""Of one delivery to one recipient: it ended; it waits, and so does what comes after it; another worker has it: look again."""


class Courier:
    """Empties queues. One in a process, used by all its threads."""

    def __init__(self, store: Store, settings: Settings, secrets: Secrets, clock: Clock, health: Heartbeat, log: Any) -> None:
        self._store, self._settings, self._clock, self._health, self._log = store, settings, clock, health, log
        self._webhooks = {tier: secrets.get(f"discord_{tier}") for tier in TIERS}
        self._discord = DiscordBot(settings.vendors, clock.machine_ns)
        token = secrets.get("telegram_token")
        self._telegram = TelegramSender(settings.vendors, token, clock.machine_ns) if token else None
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._guard = threading.Lock()
        self._troubles: deque[tuple[int, str]] = deque(maxlen=50)
        for record in sorted(store.fields(k.LEDGER_DELIVERY.at()).values(), key=lambda one: one.machine_ns):
            self._remember_trouble(record)

    # -- a queue

    def drain(self, queue: BoundKey[Delivery]) -> float | None:
        """Delivers what is due. Returns machine seconds until the next entry's time, None when there is none to come."""
        if self._enter(queue.name):
            try:
                while True:
                    self._pass(queue)
                    if self._leave(queue.name):
                        break
            except BaseException:
                with self._guard:
                    self._busy.discard(queue.name)
                raise
        upcoming = self._store.next_due_ns(queue)
        # A queue's score is its due time cut to a millisecond.
        return None if upcoming is None else self._clock.machine_seconds_until(upcoming + 1_000_000)

    def overdue(self) -> list[BoundKey[Delivery]]:
        """The queues that hold something due."""
        queues: list[BoundKey[Delivery]] = [key.at() for key in QUEUES]
        queues += self._store.scan(k.TELEGRAM_SIGNALS_QUEUE)
        now_ns = self._clock.market_ns()
        return [queue for queue in queues if (due := self._store.next_due_ns(queue)) is not None and due <= now_ns]

    def _enter(self, name: str) -> bool:
        """One thread of this process at a queue. Who comes second leaves word that there may be more, and goes."""
        with self._guard:
            if name in self._busy:
                self._again.add(name)
                return False
            self._busy.add(name)
            return True

    def _leave(self, name: str) -> bool:
        """False where somebody has left word."""
        with self._guard:
            if name in self._again:
                self._again.discard(name)
                return False
            self._busy.discard(name)
            return True

    def _pass(self, queue: BoundKey[Delivery]) -> None:
        due = self._store.due(queue, self._clock.market_ns(), AT_ONCE)
        users = self._users() if due and queue.key not in QUEUES[:3] else {}
        waiting = [delivery.id for delivery in due]
        held: set[str] = set()
        for delivery in due:
            if self._clock.market_ns() < delivery.due_ns:
                continue
            ended = True
            for recipient in self._recipients(queue, delivery, users, waiting):
                end = "hold" if recipient in held else self._tell(delivery, recipient)
                if end == "hold":
                    held.add(recipient)  # what comes after it waits too: in order, and sparing a vendor that asks for time
                ended = ended and end == "ended"
            if ended:
                batch = self._store.batch()
                batch.take(queue, delivery)
                self._store.commit(batch)
                waiting.remove(delivery.id)
        if len(due) == AT_ONCE and len(waiting) < len(due):
            with self._guard:
                self._again.add(queue.name)

    # -- who

    def _recipients(self, queue: BoundKey[Delivery], delivery: Delivery, users: dict[str, Tier], waiting: list[str]) -> list[str]:
        if queue.key in QUEUES[:3]:
            return [f"discord:{delivery.tier}"] if self._webhooks[delivery.tier] else []
        if self._telegram is None:
            return []
        return telegram_recipients(delivery, self._settings.vendors, users, self._was_told, waiting)

    def _users(self) -> dict[str, Tier]:
        """Telegram users and their tiers, as they are now."""
        bounds = list(self._store.scan(k.TELEGRAM_TIER))
        tiers_held = self._store.get_many(bounds)
        users: dict[str, Tier] = {}
        for bound, held in zip(bounds, tiers_held, strict=True):
            user = (bound.key.parse(bound.name) or {}).get("id", "")
            if not user.isdigit():
                self._health.count("refused telegram user ids")
            elif held is not None:
                users[user] = held.held_at(self._clock.machine_ns())
        return users

    def _was_told(self, delivery_id: str, recipient: str) -> bool:
        return self._store.field(k.LEDGER_DELIVERY.at(), f"{delivery_id}|{recipient}") is not None

    # -- one recipient

    def _tell(self, delivery: Delivery, recipient: str) -> End:
        field = f"{delivery.id}|{recipient}"
        record = self._store.field(k.LEDGER_DELIVERY.at(), field)
        match ledger.step(record, self._clock.machine_ns()):
            case "ended":
                return "ended"
            case "wait":
                return "later" if record is not None and record.state == "sending" else "hold"
            case "stale" if record is not None:
                self._write(field, ledger.abandoned(record, self._clock.market_ns(), self._clock.machine_ns()))
                return "ended"
            case "claim" | "retry" if not self._there(recipient):
                return "hold"
            case "claim":
                claim = self._claim(delivery, recipient, None)
                return self._send(delivery, field, claim) if self._put_once(field, claim) else "later"
            case _:
                return self._retry(delivery, recipient, field)

    def _retry(self, delivery: Delivery, recipient: str, field: str) -> End:
        """A further try has a claim of its own beside the line, which may have moved on since it was read."""
        claim_field = field + RETRY
        other = self._store.field(k.LEDGER_DELIVERY.at(), claim_field)
        if other is not None and ledger.step(other, self._clock.machine_ns()) == "stale":
            self._write(field, ledger.abandoned(other, self._clock.market_ns(), self._clock.machine_ns()))
            return "ended"
        before = self._store.field(k.LEDGER_DELIVERY.at(), field)
        claim = self._claim(delivery, recipient, before)
        if not self._put_once(claim_field, claim):
            return "later"
        unchanged = self._store.field(k.LEDGER_DELIVERY.at(), field) == before
        if unchanged and ledger.step(before, self._clock.machine_ns()) == "retry":
            return self._send(delivery, field, claim)
        batch = self._store.batch()
        batch.drop_field(k.LEDGER_DELIVERY.at(), claim_field)
        self._store.commit(batch)
        return "later"

    def _put_once(self, field: str, claim: DeliveryRecord) -> bool:
        return self._store.put_field_once(k.LEDGER_DELIVERY.at(), field, claim)

    def _claim(self, delivery: Delivery, recipient: str, before: DeliveryRecord | None) -> DeliveryRecord:
        return ledger.claim(delivery, recipient, self._clock.market_ns(), self._clock.machine_ns(), before)

    def _there(self, recipient: str) -> bool:
        """False while the vendor's breaker rests: nothing is claimed, the entry waits."""
        client = self._discord if recipient.startswith("discord:") else self._telegram
        return client is not None and client.breaker.ready()

    def _send(self, delivery: Delivery, field: str, claim: DeliveryRecord) -> End:
        late_after_ns = self._settings.distribution.late_after_seconds * ledger.SECOND
        now_ns = self._clock.market_ns()
        late = wording.late_line(delivery, now_ns) if now_ns - delivery.due_ns > late_after_ns else None
        outcome = attempt(lambda: self._post(delivery, claim.recipient, late))
        record = ledger.after(
            claim,
            outcome,
            self._clock.market_ns(),
            self._clock.machine_ns(),
            self._settings.distribution.max_attempts,
            late=late is not None,
        )
        self._write(field, record)
        return "ended" if record.retry_machine_ns is None else "hold"

    def _post(self, delivery: Delivery, recipient: str, late: str | None) -> str:
        vendor, _, address = recipient.partition(":")
        if vendor == "discord":
            webhook = self._webhooks[delivery.tier]
            if webhook is None:
                raise RefusedError("no webhook")
            return self._discord.send(webhook, wording.discord_embed(delivery, late))
        if self._telegram is None:
            raise RefusedError("no bot")
        chat: int | str = int(address) if address.lstrip("-").isdigit() else address
        return self._telegram.send(chat, wording.telegram_text(delivery, late))

    def _write(self, field: str, record: DeliveryRecord) -> None:
        batch = self._store.batch()
        batch.put_field(k.LEDGER_DELIVERY.at(), field, record)
        batch.drop_field(k.LEDGER_DELIVERY.at(), field + RETRY)
        self._store.commit(batch)
        self._say(record)

    # -- what the operator sees

    def _say(self, record: DeliveryRecord) -> None:
        vendor = record.recipient.partition(":")[0]
        state = "retried" if record.retry_machine_ns is not None else record.state
        self._health.count(f"{state} {vendor}")
        told = {"delivery": record.delivery_id, "recipient": record.recipient, "attempts": record.attempts}
        if state in ("sent", "late"):
            self._log.info("delivered", state=state, vendor_id=record.vendor_id, **told)
            return
        self._log.warning(f"delivery_{state}", reason=record.reason, **told)
        self._remember_trouble(record)

    def _remember_trouble(self, record: DeliveryRecord) -> None:
        if record.state == "unknown" or (record.state == "failed" and record.retry_machine_ns is None):
            what = f"{record.state}: {record.delivery_id} to {record.recipient}, {record.reason}"
            self._troubles.append((record.machine_ns, what))

    def tell_health(self) -> None:
        """Degraded while a message was lost or refused in the last quarter of an hour, or a vendor's breaker is open."""
        machine_ns = self._clock.machine_ns()
        recent = [text for at_ns, text in self._troubles if machine_ns - at_ns < TROUBLE_SECONDS * ledger.SECOND]
        breakers = {"discord": self._discord.breaker.state}
        if self._telegram is not None:
            breakers["telegram"] = self._telegram.breaker.state
        self._health.fact("breakers", breakers)
        self._health.fact("troubles", recent[-5:])
        resting = [vendor for vendor, state in breakers.items() if state != "closed"]
        if resting:
            self._health.degraded(f"{' and '.join(resting)} cannot be reached", "vendors")
        elif recent:
            self._health.degraded(f"{len(recent)} deliveries unknown or refused; last {recent[-1]}")
        else:
            self._health.ready()


def attempt(post: Callable[[], str]) -> Outcome:
    """How one try ended."""
    try:
        return Outcome("sent", vendor_id=post())
    except LimitedError as error:
        return Outcome("limited", reason=str(error), wait_seconds=error.wait_seconds)
    except UnreachableError as error:
        return Outcome("unreachable", reason=str(error), wait_seconds=error.wait_seconds)
    except RefusedError as error:
        return Outcome("refused", reason=str(error))
    except (LostAnswerError, SendError) as error:
        return Outcome("unknown", reason=str(error))


@cache
def courier() -> Courier:
    """This process's one."""
    here = context()
    return Courier(store(), here.settings, here.secrets, here.clock, heartbeat(), here.log)


@app.task(name="delivery.deliver", bind=True)  # type: ignore[untyped-decorator]
def deliver(self: AlphaTask, queue: str) -> None:
    """Empties one queue, by its name, of what is due."""
    key = k.find(queue)
    if key is None or key.kind != Kind.QUEUE:
        self.log.error("no_such_queue", queue=queue)
        return
    left = courier().drain(BoundKey(key, queue))
    if left is not None and 0 < left <= EARLY_SECONDS:
        self.apply_async(args=[queue], countdown=left)


@app.task(name="delivery.sweep", bind=True)  # type: ignore[untyped-decorator]
def sweep(self: AlphaTask) -> None:
    """Wakes every queue that holds something due, and says how delivery fares."""
    for queue in courier().overdue():
        deliver.delay(queue.name)
    courier().tell_health()


@worker_ready.connect
def _at_once(**_: Any) -> None:
    """What a worker that died left behind does not wait for beat."""
    sweep.delay()
