"""The command line: `alphatrader run|status|doctor|halt|resume|flatten|get|watch|keys|why|report|...`.

Each command lives in `alphatrader/commands/` and is imported only when it is asked for, so that `run` stays small.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Final

READER_LEFT: Final = 128 + 13
"""Exit code of a command whose reader closed the pipe (`| head`): what a shell reports of a process ended by SIGPIPE."""


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 it found something wrong, 2 it was used wrongly, 3 the system cannot be reached.

    130: Ctrl-C came before it was done. 141: whoever read the output closed it before the end."""
    from alphatrader.commands import MISUSED
    from alphatrader.runtime import env_file
    from alphatrader.runtime.settings import SettingsError

    try:
        env_file.apply(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"alphatrader: {error}\n")
        sys.exit(MISUSED)
    if len(sys.argv) == 3 and sys.argv[1] == "run" and not sys.argv[2].startswith("-"):
        from alphatrader.runtime import parent

        try:
            sys.exit(parent.run(sys.argv[2]))
        except (SettingsError, KeyError) as error:
            sys.stderr.write(f"alphatrader run {sys.argv[2]}: {error.args[0]}\n")
            sys.exit(MISUSED)
    from alphatrader.commands import dispatch

    try:
        try:
            code = dispatch(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_left():
            raise  # a server's connection, not the output
        # What is still buffered would be complained about once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = READER_LEFT
    sys.exit(code)


def _reader_left() -> bool:
    """Whether nobody reads standard output any more: errors and hang-ups are always told, so no event is asked for."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))
