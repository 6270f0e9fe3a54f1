"""What begins with a slot of an equity: informed flow, hedges and makers' moves (for the truth log only), and closing imbalances.

Used by `simulation.py`, once a slot and for what is running at a start in mid-session.
"""

from __future__ import annotations

from .auctions import STARTS_BEFORE_CLOSE, closing_imbalance
from .business_days import Session
from .instrument import Instrument
from .instruments import SPECS
from .makers import moves
from .option_flow import hedge_in
from .paths import SLOT_SECONDS, Paths
from .truth import TruthLog
from .types import Auction


class Announcer:
    def __init__(self, seed: int, truth: TruthLog, paths: Paths) -> None:
        self._seed, self._truth, self._paths = seed, truth, paths

    def running(self, instrument: Instrument, session: Session, second: int) -> None:
        """What has begun before `second` of the session and goes on."""
        if self._truth.enabled:
            self._tell_episode(instrument, session, second, running=True)
            self._tell_makers(instrument, session, second, running=True)
            self._tell_hedges(instrument, session, second, running=True)

    def begins(self, instrument: Instrument, session: Session, slot: int, start_ns: int) -> Auction | None:
        """Tells what begins within the slot; the imbalance its exchange publishes then, if any."""
        second = slot * SLOT_SECONDS
        if self._truth.enabled:
            self._tell_episode(instrument, session, second, running=False)
            self._tell_makers(instrument, session, second, running=False)
            self._tell_hedges(instrument, session, second, running=False)
        contract, left_ns = instrument.contract, session.close_ns - start_ns
        if left_ns > STARTS_BEFORE_CLOSE.get(contract.primary_exchange, 0) or instrument.halted:
            return None
        price = instrument.last if instrument.last is not None else instrument.mid
        auction = closing_imbalance(
            self._seed, contract.con_id, str(session.day), price, SPECS[contract.symbol].daily_volume, instrument.table.lot,
            left_ns, start_ns,
        )  # fmt: skip
        told = {"paired": auction.volume, "imbalance": auction.imbalance, "price": price}
        self._truth.write("auction", start_ns, contract.con_id, told)
        return auction

    def _tell_episode(self, instrument: Instrument, session: Session, second: int, *, running: bool) -> None:
        contract = instrument.contract
        episodes = self._paths.session(contract.symbol, session).episodes
        if episodes is None:
            return
        block = second // SPECS[contract.symbol].episode_block_seconds
        if block >= len(episodes.start):
            return
        start, end = float(episodes.start[block]), float(episodes.end[block])
        if (start < second < end) if running else (second <= start < second + SLOT_SECONDS):
            fields = {"symbol": contract.symbol, "direction": int(episodes.direction[block]),
                      "end_ns": session.open_ns + int(end * 1e9), "log_move": float(episodes.drift[block])}  # fmt: skip
            self._truth.write("episode", session.open_ns + int(start * 1e9), contract.con_id, fields)

    def _tell_makers(self, instrument: Instrument, session: Session, second: int, *, running: bool) -> None:
        for move in moves(instrument.table.key, second, second + SLOT_SECONDS, running=running):
            fields = {"maker": move.maker, "what": move.what, "side": move.side, "strength": round(move.strength, 4),
                      "end_ns": session.open_ns + int(move.end * 1e9)}  # fmt: skip
            self._truth.write("maker", session.open_ns + int(move.start * 1e9), instrument.contract.con_id, fields)

    def _tell_hedges(self, instrument: Instrument, session: Session, second: int, *, running: bool) -> None:
        """A hedge begins before its episode, so it may belong to the next block's."""
        contract = instrument.contract
        episodes = self._paths.session(contract.symbol, session).episodes
        if episodes is None:
            return
        block = second // SPECS[contract.symbol].episode_block_seconds
        for hedge in (hedge_in(self._seed, contract.symbol, session.day, episodes, at) for at in (block, block + 1)):
            if hedge and ((hedge.start < second < hedge.end) if running else (second <= hedge.start < second + SLOT_SECONDS)):
                fields = {"symbol": contract.symbol, "direction": hedge.direction, "lag_seconds": hedge.lag,
                          "end_ns": session.open_ns + int(hedge.end * 1e9)}  # fmt: skip
                self._truth.write("hedge", session.open_ns + int(hedge.start * 1e9), contract.con_id, fields)
