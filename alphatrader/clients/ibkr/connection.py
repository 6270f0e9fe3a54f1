"""One connection to IB Gateway: kept up for ever, over the configured gateways in turn, around an unmodified ib_insync.

Used by `ibkr` (read-only), `execution` and `emergency`, each with its own clientId. Every connection is a new `IB`: the library
leaves dead tickers and trades behind on a reused one. A connection counts only once everything asked at the start was answered
(ib_insync itself passes time-outs over), and ends when the socket closes, is silent to a probe, or holds a frame that never ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from random import Random
from typing import Any, Final, cast

from ib_insync import IB
from ib_insync.wrapper import RequestError

from alphatrader.clients.ibkr.accounts import AccountRefusedError, choose_account
from alphatrader.clients.ibkr.codes import Answer, answer_to
from alphatrader.contract.settings import Mode
from alphatrader.contract.settings.system import Address

PROBE_SECONDS: Final = 4.0
"""How often a connected gateway is asked the time, and how long it may take to answer."""
FRAME_LIMIT_BYTES: Final = 16_000_000
"""More undecoded bytes than this are no frame of the protocol but a broken length prefix."""
ENDS: Final = frozenset({Answer.RECONNECT, Answer.CLIENT_ID_IN_USE})
"""What the gateway says of a connection that is over, or never was."""

GATEWAY_ZONE: Final = "America/New_York"
"""How time texts without a zone are read; at server version 176 the gateway sends the zone."""

LIBRARY_LOGS: Final = {"ib_insync": logging.WARNING, "ib_insync.client": logging.CRITICAL, "ib_insync.wrapper": logging.CRITICAL}
"""What ib_insync may say: connections and errors are told by us and by the owners of the requests, with their names."""

_new_ib = cast(Callable[[], IB], IB)
"""ib_insync is not typed throughout."""


class ConnectFailedError(ConnectionError):
    """This attempt did not lead to a synchronized connection; another may."""


class DecodeErrors(logging.Handler):
    """Counts frames that ib_insync could not decode: it logs the exception and goes on."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


class BrokerConnection:
    """`run` connects and reconnects until `stopping`.

    `ib` is the present connection's and changes at each reconnect: bind handlers in `prepare` (called with each new IB before it
    connects, so that nothing is missed) or in `on_connected`. With `readonly` nothing of the account is asked for.
    """

    def __init__(
        self,
        gateways: Sequence[Address],
        client_id: int,
        *,
        account: str,
        mode: Mode,
        readonly: bool,
        connect_timeout_seconds: float,
        backoff_first_seconds: float,
        backoff_most_seconds: float,
        log: Any,
        random: Random,
        prepare: Callable[[IB], None] | None = None,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        self._gateways = tuple(gateways)
        self._client_id = client_id
        self._wanted_account = account
        self._mode = mode
        self._readonly = readonly
        self._timeout = connect_timeout_seconds
        self._backoff = (backoff_first_seconds, backoff_most_seconds)
        self._log = log
        self._random = random
        self._prepare = prepare
        self._probe_seconds = probe_seconds
        self._decode_errors = DecodeErrors()
        self.ib = _new_ib()
        self.account = ""
        """The resolved account; empty before the first connection."""
        self.gateway: Address | None = None
        """Where it is connected."""
        self.problem: str | None = "not connected yet"
        """Why there is no connection; None while there is one."""
        self.connections = 0
        """Connections made since the start."""
        self._end: Callable[[str], None] = lambda reason: None
        self._settled = False
        """Whether `on_connected` ended well on the newest connection: only then does the back-off start anew."""

    @property
    def connected(self) -> bool:
        """Connected, and everything asked at the start was answered."""
        return self.problem is None and self.ib.client.isReady()

    @property
    def decode_errors(self) -> int:
        """Frames of the broker that could not be decoded."""
        return self._decode_errors.count

    def give_up(self, reason: str) -> None:
        """Ends the present connection: it is made anew on the next gateway."""
        self._end(reason)

    async def run(
        self, stopping: asyncio.Event, on_connected: Callable[[IB], Awaitable[None]], on_lost: Callable[[str], None]
    ) -> None:
        """Connects for ever. `on_connected` is awaited after each synchronization; when it fails for want of the broker's answer
        the connection is given up. `on_lost` is told why a connection ended, but not of our own stop."""
        # ib_insync asks the policy for the loop, which a loop made by uvloop.run is not registered with.
        asyncio.set_event_loop(asyncio.get_running_loop())
        for name, level in LIBRARY_LOGS.items():
            logging.getLogger(name).setLevel(level)
        decoder_log = logging.getLogger("ib_insync.Decoder")
        decoder_log.addHandler(self._decode_errors)
        try:
            await self._live(stopping, on_connected, on_lost)
        finally:
            decoder_log.removeHandler(self._decode_errors)

    async def _live(
        self, stopping: asyncio.Event, on_connected: Callable[[IB], Awaitable[None]], on_lost: Callable[[str], None]
    ) -> None:
        attempt = failures = 0
        while not stopping.is_set():
            address = self._gateways[attempt % len(self._gateways)]
            attempt += 1
            try:
                lost, connected = await self._unless(stopping, self._one_connection(address, stopping, on_connected))
            except (ConnectionError, TimeoutError, OSError, RequestError) as error:
                lost, connected = str(error) or type(error).__name__, False
            except AccountRefusedError as error:
                self._log.error("account_refused", gateway=_name(address), error=str(error))
                lost, connected = str(error), False
                failures += 10  # waiting long is all that helps
            if stopping.is_set():
                return
            self.problem = lost
            self.gateway = None
            if connected:
                if self._settled:
                    failures = 0
                on_lost(lost)
            pause = self._pause(failures)
            failures += 1
            self._log.warning("broker_not_connected", gateway=_name(address), reason=lost, retry_seconds=round(pause, 2))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stopping.wait()

    def _pause(self, failures: int) -> float:
        first, most = self._backoff
        return min(most, first * 2.0 ** min(failures, 20)) * (0.5 + self._random.random() / 2)

    async def _unless(self, stopping: asyncio.Event, work: Coroutine[Any, Any, tuple[str, bool]]) -> tuple[str, bool]:
        """The outcome of `work`, cancelled when we are asked to stop."""
        task = asyncio.create_task(work, name="broker-connection")
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
            await asyncio.wait({task})
        return ("stopping", True) if task.cancelled() else task.result()

    async def _one_connection(
        self, address: Address, stopping: asyncio.Event, on_connected: Callable[[IB], Awaitable[None]]
    ) -> tuple[str, bool]:
        """Connects, and returns why it ended and whether it had been synchronized. Raises what a failed attempt raises."""
        ib = _new_ib()
        client: Any = ib.client
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def end(reason: str) -> None:
            if not ended.done():
                ended.set_result(reason)

        client.apiError += lambda text: end(str(text))
        ib.disconnectedEvent += lambda: end("the gateway closed the connection")
        ib.errorEvent += lambda _id, code, text, _contract: end(f"{code}: {text}") if answer_to(code) in ENDS else None
        self._end = end
        try:
            self.account = await self._connect(ib, address, ended)
            self.ib, self.gateway, self.problem = ib, address, None
            self.connections += 1
            self._settled = False
            self._log.info("broker_connected", gateway=_name(address), account=self.account, client_id=self._client_id)
            probe = asyncio.create_task(self._watch(ib, end), name="broker-probe")
            try:
                try:
                    await on_connected(ib)
                    self._settled = True
                except (ConnectionError, TimeoutError, RequestError) as error:
                    end(f"start-up requests failed: {error or type(error).__name__}")
                return await ended, True
            finally:
                probe.cancel()
        finally:
            _close(ib)

    async def _connect(self, ib: IB, address: Address, ended: asyncio.Future[str]) -> str:
        ib.RaiseRequestErrors = True
        ib.TimezoneTWS = GATEWAY_ZONE
        ib.wrapper.clientId = self._client_id
        if self._prepare is not None:
            self._prepare(ib)
        client: Any = ib.client
        handshake = client.connectAsync(address.host, address.port, self._client_id, self._timeout)
        await self._answered(ended, handshake, "handshake")
        account = choose_account(self._mode, self._wanted_account, client.getAccounts())
        if self._readonly:
            await self._answered(ended, ib.reqCurrentTimeAsync(), "current time")
            return account
        first = {
            "positions": ib.reqPositionsAsync(),
            "open orders": ib.reqOpenOrdersAsync(),
            "completed orders": ib.reqCompletedOrdersAsync(False),
            "account": ib.reqAccountUpdatesAsync(account),
        }
        await asyncio.gather(*(self._answered(ended, request, what) for what, request in first.items()))
        # The request for executions must come after all orders are in, for them to find their order.
        await self._answered(ended, ib.reqExecutionsAsync(), "executions")
        return account

    async def _answered(self, ended: asyncio.Future[str], request: Awaitable[Any], what: str) -> Any:
        """The answer, or ConnectFailedError when the connection ended or nothing came in time: unknown is never empty."""
        asking = asyncio.ensure_future(request)
        try:
            done, _ = await asyncio.wait({asking, ended}, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not asking.done():
                asking.cancel()
        if asking in done and not asking.cancelled() and asking.exception() is None:
            return asking.result()
        if ended.done():
            raise ConnectFailedError(f"{what}: {ended.result()}")
        if asking not in done:
            raise ConnectFailedError(f"{what}: no answer within {self._timeout:g} s")
        raise ConnectFailedError(f"{what}: {asking.exception()}") from asking.exception()

    async def _watch(self, ib: IB, end: Callable[[str], None]) -> None:
        """Ends a connection whose socket lives but whose gateway does not answer."""
        while True:
            await asyncio.sleep(self._probe_seconds)
            begun: bytes = cast(Any, ib.client)._data
            if max(len(begun), int.from_bytes(begun[:4])) > FRAME_LIMIT_BYTES:
                end(f"a frame announced more than {FRAME_LIMIT_BYTES} bytes: the stream is broken")
                return
            try:
                await asyncio.wait_for(ib.reqCurrentTimeAsync(), self._probe_seconds)
            except TimeoutError:
                end(f"the gateway did not answer a probe within {self._probe_seconds:g} s")
                return
            except ConnectionError as error:
                end(str(error))
                return


def _close(ib: IB) -> None:
    """Ends the connection, and every request that still waits on it."""
    client, wrapper = cast(Any, ib.client), cast(Any, ib.wrapper)
    transport = client.conn.transport
    wrapper.connectionClosed()
    with contextlib.suppress(RuntimeError, OSError):  # a socket that is closed already cannot be shut down again
        client.disconnect()
    if transport is not None and transport.get_write_buffer_size():
        transport.abort()  # the peer does not read: a graceful close would wait for it


def _name(address: Address) -> str:
    return f"{address.host}:{address.port}"
