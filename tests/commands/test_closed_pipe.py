"""Commands whose reader leaves before the end, as `| head` does: quiet, with the code a shell gives to SIGPIPE."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from alphatrader.cli import READER_LEFT

COMMAND = [sys.executable, "-c", "from alphatrader.cli import main; main()"]


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["help"], id="fits the buffer, so that only the flush at the end fails"),
        pytest.param(["keys", "--json"], id="longer than the buffer, so that a write in the middle fails"),
        pytest.param(["keys"], id="a table of Rich, which has an end of its own for closed pipes"),
        pytest.param(["chain", "--help"], id="ended by argparse"),
    ],
)
def test_a_command_ends_quietly_when_its_reader_has_left(argv: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    try:
        done = subprocess.run(
            [*COMMAND, *argv], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False, env=buffered
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (READER_LEFT, "")


def test_a_broken_connection_is_not_taken_for_a_reader_that_left() -> None:
    """Given a command that fails on a socket while its output is read, then the error is shown."""
    broken = (
        "from alphatrader import commands, cli\n"
        "def fails(argv): raise BrokenPipeError('a server went away')\n"
        "commands.dispatch = fails\n"
        "cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", broken], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "a server went away" in done.stderr
