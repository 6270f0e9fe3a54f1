"""The simulated market of the sandbox: a function of a seed and of market time.

Whoever asks at an instant gets the same market, whether the process has run since the open or was started a moment ago:
nothing is drawn from a running generator. `SimulatedMarket` (the `Market` of `types.py`) is made by the sandbox's process and
read by its broker gateway and its Alpha Vantage stand-in. No clock is read here, and nothing of the product is imported.

From the outside in:

| File | What it holds |
|---|---|
| `types.py` | the interface: contracts, quotes, books, prints, bars, steps |
| `simulation.py` | `SimulatedMarket`: plays the slots as time goes on, answers quotes, chains, bars |
| `instrument.py` | one instrument's state now: quote, book, running totals of the day |
| `slots.py` | the events of 5 seconds: quotes, prints, sweeps, icebergs, hidden and off-exchange trades |
| `tables.py` | one instrument's session in 5-second rows, which bars sum up and which `slots.py` fills |
| `paths.py` | price paths: daily levels, factors, informed-flow episodes |
| `options.py`, `option_desk.py` | what options are worth; their quotes and bars |
| `depth.py`, `auctions.py`, `news.py`, `history.py` | level 2, closing imbalances, news, historical bars |
| `instruments.py`, `venues.py` | what there is, as tables |
| `listings.py`, `expiry_rules.py`, `business_days.py` | contracts listed on a date, expiry rules, sessions and holidays |
| `hashing.py`, `truth.py` | chance from names; the log of what was generated |

Simplifications: everything trades in the New York session only, futures and foreign indices too; a bar's `wap` is the
mean of its rows' open, high, low and close, weighted by volume; implied volatility is set by a smile, not by flow.
"""

from .pauses import Halt
from .simulation import SimulatedMarket
from .truth import TruthLog

__all__ = ["Halt", "SimulatedMarket", "TruthLog"]
