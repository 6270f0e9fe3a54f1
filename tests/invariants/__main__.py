"""`python -m tests.invariants [DATA]`: judges a system whose servers run, one line an invariant.

DATA is its data folder (`data` by default, or ALPHATRADER_DATA_DIR); ports and logs as its settings say. `--moving`: it is not at
rest, so that what is on its way between it and the broker is no difference. Exit codes: 0 all held, 1 something was broken.
"""

from __future__ import annotations

import argparse
import os
import sys

from alphatrader.runtime.secrets import Vault
from alphatrader.runtime.settings import data_path, load, log_path
from tests.invariants import ELSEWHERE, check
from tests.invariants.gather import gather


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.invariants", description=__doc__)
    parser.add_argument("data", nargs="?", help="the system's data folder")
    parser.add_argument("--moving", action="store_true", help="the system is not at rest")
    given = parser.parse_args()
    environment = {**os.environ, **({"ALPHATRADER_DATA_DIR": given.data} if given.data else {})}
    settings = load(environment)
    folder = data_path(settings)
    evidence = gather(settings, Vault(folder, settings.mode, {}), folder, log_path(settings), settled=not given.moving)
    verdicts = check(evidence)
    for name, verdict in verdicts.items():
        sys.stdout.write(f"{verdict.outcome:16} {name:24} {verdict.counted}\n")
        for what in verdict.broken[:20]:
            sys.stdout.write(f"{'':16} ! {what}\n")
        if len(verdict.broken) > 20:
            sys.stdout.write(f"{'':16} ! and {len(verdict.broken) - 20} more\n")
    for name, where in ELSEWHERE.items():
        sys.stdout.write(f"{'held by tests':16} {name:24} {where}\n")
    return int(any(verdict.outcome == "broken" for verdict in verdicts.values()))


if __name__ == "__main__":
    sys.exit(main())
