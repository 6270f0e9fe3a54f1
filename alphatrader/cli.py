"""The command line: `alphatrader run|status|doctor|halt|resume|flatten|get|watch|keys|why|report|...`.

Each command lives in `alphatrader/commands/` and is imported only when it is asked for, so that `run` stays small.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 it found something wrong, 2 it was used wrongly, 3 the system cannot be reached."""
    if len(sys.argv) == 3 and sys.argv[1] == "run":
        from alphatrader.runtime import parent
        from alphatrader.runtime.settings import SettingsError

        try:
            sys.exit(parent.run(sys.argv[2]))
        except (SettingsError, KeyError) as error:
            sys.exit(f"alphatrader run {sys.argv[2]}: {error.args[0]}")
    from alphatrader.commands import dispatch

    sys.exit(dispatch(sys.argv[1:]))
